import { randomBytes, type KeyObject } from 'node:crypto'
import type * as z from 'zod'
import {
  agentMethods,
  helloResult,
  type AgentEvent,
  type AgentMethod,
  type AgentParams,
  type AgentResult,
  type CommandText,
} from '../../protocol/agent-messages.ts'
import { formatDuration } from '../../protocol/duration.ts'
import { DployError, reportOf } from '../../protocol/errors.ts'
import { newId } from '../../protocol/ids.ts'
import type { Peer } from '../../protocol/peer.ts'
import { sha256, signText } from '../../protocol/signature.ts'
import { protocolNumber } from '../../protocol/version.ts'

/** How long after it was sent a command may still be started. Milliseconds; allows for clocks that differ. */
const commandLifetime = 5 * 60_000

export interface CommandOptions<M extends AgentMethod> {
  application: string
  environment: string
  /** Fencing token; 0 for what only reads. */
  epoch: number
  /** The same id for the same command asked again: the agent does it once. A new one by default. */
  id?: string | undefined
  signal?: AbortSignal | undefined
  body?: Uint8Array | undefined
  onEvent?: ((event: AgentEvent<M>, body: Uint8Array) => void) | undefined
}

/** An agent that is connected now, whichever way. */
export class AgentLink {
  readonly server: { id: string; name: string }
  readonly #peer: Peer
  readonly #key: KeyObject
  /** Since when it is connected, epoch milliseconds. */
  readonly since = Date.now()
  /** What the server keeps for the environment for which ssh connected to it; taken once. */
  held: AgentResult<'hold'> | null = null
  /** What there was in that place then, under which fencing token and record, if nobody held the lock; `at` by `performance.now()`. */
  looked: { at: number; epoch: number; writtenAt: number | null; observation: AgentResult<'observe'> } | null = null
  /** The version of an agent that upgrades itself; null for another. */
  bundle: { digest: string; trial: boolean } | null = null
  /** What the agent said of itself. */
  readonly facts: {
    version: string
    platform: string
    clockSkew: number
    roundTrip: number
    instance: string
    instanceId?: string | undefined
  }

  constructor(server: { id: string; name: string }, peer: Peer, key: KeyObject, facts: AgentLink['facts']) {
    this.server = server
    this.#peer = peer
    this.#key = key
    this.facts = facts
  }

  get closed(): Promise<string> {
    return this.#peer.closed
  }

  get open(): boolean {
    return this.#peer.open
  }

  close(reason: string): void {
    this.#peer.close(reason)
  }

  /** Whether its agent answers now, over this very connection. `limit` in milliseconds. */
  async answers(limit: number): Promise<boolean> {
    try {
      await this.#peer.call(
        'hello',
        { protocol: protocolNumber, nonce: randomBytes(24).toString('base64') },
        { signal: AbortSignal.timeout(limit) },
      )
      return true
    } catch {
      return false
    }
  }

  /**
   * How far its clock is ahead of ours now, in milliseconds, and how long it took to ask; kept as facts too. A connection may be as old as the
   * clock's error. Throws as a call does.
   */
  async readClock(signal: AbortSignal): Promise<{ clockSkew: number; roundTrip: number }> {
    const asked = performance.now()
    const { clock } = this.#parsed(
      'hello',
      helloResult,
      await this.#peer.call(
        'hello',
        { protocol: protocolNumber, nonce: randomBytes(24).toString('base64') },
        { signal },
      ),
    )
    const roundTrip = performance.now() - asked
    return Object.assign(this.facts, { clockSkew: clock - (Date.now() - roundTrip / 2), roundTrip })
  }

  /** Sends a signed command and answers its result. Errors name the server. */
  async command<M extends AgentMethod>(
    method: M,
    params: AgentParams<M>,
    options: CommandOptions<M>,
  ): Promise<AgentResult<M>> {
    const body = options.body ?? new Uint8Array(0)
    const text = JSON.stringify({
      id: options.id ?? newId('cmd'),
      server: this.server.id,
      application: options.application,
      environment: options.environment,
      epoch: options.epoch,
      expires: Date.now() + commandLifetime,
      method,
      params,
      body: sha256(body),
    } satisfies CommandText)
    const schema = agentMethods[method]
    try {
      const result = await this.#peer.call(
        'command',
        { text, signature: signText(this.#key, text) },
        {
          signal: options.signal,
          body,
          onEvent: (event, eventBody) => {
            const parsed = schema.event.safeParse(event)
            if (parsed.success) options.onEvent?.(parsed.data as AgentEvent<M>, eventBody)
          },
        },
      )
      return this.#parsed(method, schema.result, result) as AgentResult<M>
    } catch (error) {
      if (error instanceof DployError) {
        // The reason is the clock, and that is mended in another way than a wrong signature.
        if (
          error.code === 'command.refused' &&
          this.facts.clockSkew > commandLifetime / 2 &&
          error.message.includes('it expired')
        )
          throw new DployError(
            'server.clock_skew',
            `The clock of ${this.server.name} is ${formatDuration(this.facts.clockSkew)} ahead of the control plane's, so that it refuses commands as expired`,
            { where: this.server.name, cause: error },
          )
        if (isTooNew(error))
          throw new DployError(
            'protocol.mismatch',
            `The agent of ${this.server.name} is older than this control plane and does not know ${method} yet`,
            {
              where: this.server.name,
              fix: `It is upgraded by itself where dploy installed it; elsewhere: dploy server add ${this.server.name}`,
              cause: error,
            },
          )
        throw DployError.from({ ...reportOf(error, this.server.name) })
      }
      throw error
    }
  }

  /** What an agent answers is from outside. Throws `protocol.invalid`, naming the first field that is wrong. */
  #parsed<T extends z.ZodType>(method: string, schema: T, value: unknown): z.output<T> {
    const { success, data, error } = schema.safeParse(value)
    if (success) return data
    const issue = error.issues[0]!
    throw new DployError(
      'protocol.invalid',
      `What the agent answered to ${method} is not valid: ${issue.path.join('.')} ${issue.message}`,
      { where: this.server.name },
    )
  }
}

/** Whether a command is of a version after the agent's own (agent/command-gate.ts): what is sent here is signed, and valid by this version. */
function isTooNew(error: DployError): boolean {
  return error.code === 'command.refused' && error.message.endsWith('it cannot be read')
}
