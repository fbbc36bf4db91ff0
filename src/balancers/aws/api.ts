import type { ElasticLoadBalancingClient } from '@aws-sdk/client-elastic-load-balancing'
import type { ElasticLoadBalancingV2Client } from '@aws-sdk/client-elastic-load-balancing-v2'
import type { BalancerConfig } from '../../protocol/config/config.ts'
import { failureOf, isExpired } from './failure.ts'
import { retries } from './retries.ts'

type V2 = typeof import('@aws-sdk/client-elastic-load-balancing-v2')
type Classic = typeof import('@aws-sdk/client-elastic-load-balancing')

/** What one call is about, for its errors. */
export interface Call {
  /** Its action: `DeregisterTargets`. */
  action: string
  /** `target group shop`. */
  where: string
  signal: AbortSignal
}

/** How long a connection may take, and an answer. Milliseconds. */
const connectTimeout = 5_000
const answerTimeout = 10_000

/**
 * The AWS SDK's clients, with its chain of credentials (environment, shared files and their profiles, single sign-on,
 * container, instance). They are loaded with the first call: loading takes a quarter of a second.
 */
export class Api {
  readonly #region: string | undefined
  readonly #endpoint: string | undefined
  readonly #onThrottle: () => void
  #v2: Promise<{ sdk: V2; client: ElasticLoadBalancingV2Client }> | null = null
  #classic: Promise<{ sdk: Classic; client: ElasticLoadBalancingClient }> | null = null

  constructor(
    config: Pick<Extract<BalancerConfig, { kind: 'aws' }>, 'region' | 'endpoint' | 'target_groups'>,
    onThrottle: () => void,
  ) {
    this.#region = config.region ?? config.target_groups?.[0]?.split(':')[3]
    this.#endpoint = config.endpoint
    this.#onThrottle = onThrottle
  }

  /** Asks the API of target groups. Throws errors of dploy. */
  v2<T>(
    call: Call,
    ask: (sdk: V2, client: ElasticLoadBalancingV2Client, options: { abortSignal: AbortSignal }) => Promise<T>,
  ): Promise<T> {
    return this.#perform(call, async () => {
      this.#v2 ??= import('@aws-sdk/client-elastic-load-balancing-v2').then((sdk) => ({
        sdk,
        client: new sdk.ElasticLoadBalancingV2Client(this.#options()),
      }))
      const { sdk, client } = await this.#v2
      return ask(sdk, client, { abortSignal: call.signal })
    })
  }

  /** Asks the API of classic balancers. Throws errors of dploy. */
  classic<T>(
    call: Call,
    ask: (sdk: Classic, client: ElasticLoadBalancingClient, options: { abortSignal: AbortSignal }) => Promise<T>,
  ): Promise<T> {
    return this.#perform(call, async () => {
      this.#classic ??= import('@aws-sdk/client-elastic-load-balancing').then((sdk) => ({
        sdk,
        client: new sdk.ElasticLoadBalancingClient(this.#options()),
      }))
      const { sdk, client } = await this.#classic
      return ask(sdk, client, { abortSignal: call.signal })
    })
  }

  async close(): Promise<void> {
    for (const one of await Promise.allSettled([this.#v2, this.#classic]))
      if (one.status === 'fulfilled') one.value?.client.destroy()
  }

  async #perform<T>(call: Call, ask: () => Promise<T>): Promise<T> {
    call.signal.throwIfAborted()
    try {
      return await ask().catch(async (error: unknown) => {
        if (!isExpired(error)) throw error
        // They may have been renewed where they come from: a new client goes through the chain again.
        await this.close()
        this.#v2 = null
        this.#classic = null
        return ask()
      })
    } catch (error) {
      call.signal.throwIfAborted()
      throw failureOf(error, call.action, call.where)
    }
  }

  #options() {
    return {
      ...(this.#region !== undefined && { region: this.#region }),
      ...(this.#endpoint !== undefined && { endpoint: this.#endpoint }),
      retryStrategy: retries(this.#onThrottle),
      requestHandler: { connectionTimeout: connectTimeout, requestTimeout: answerTimeout, throwOnRequestTimeout: true },
    }
  }
}
