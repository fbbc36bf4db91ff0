import type * as z from 'zod'
import type { BalancerConfig } from '../../protocol/config/config.ts'
import { formatDuration } from '../../protocol/duration.ts'
import { DployError } from '../../protocol/errors.ts'
import type {
  Balancer,
  BalancerDriver,
  DrainOptions,
  RegisterOptions,
  ServerCounters,
  ServerTraffic,
  TrafficCounters,
} from '../contract.ts'
import { controlAnswerSchema, type controlRequestSchema } from './balancer.ts'

/** Between two looks while somebody waits. Milliseconds. */
const lookEvery = 10

/** The built-in balancer of the demo, through its control address. */
class Builtin implements Balancer {
  readonly kind = 'builtin'
  readonly capabilities = { countsInFlight: true, counts: true, drains: true, reloads: false }
  readonly #address: string

  constructor(config: Extract<BalancerConfig, { kind: 'builtin' }>) {
    this.#address = config.address
  }

  async check(servers: readonly string[], signal: AbortSignal): Promise<void> {
    await this.read(servers, signal)
  }

  async read(servers: readonly string[], signal: AbortSignal): Promise<ServerTraffic[]> {
    const answer = await this.#ask(null, signal)
    return servers.map((server) => {
      const found = answer.servers.find((one) => one.server === server)
      if (!found)
        throw new DployError(
          'balancer.unknown_server',
          `The built-in balancer has no server ${server}; it has ${answer.servers.map((one) => one.server).join(', ')}`,
          { where: this.#address },
        )
      return found
    })
  }

  async drain(server: string, options: DrainOptions): Promise<{ inFlight: number }> {
    await this.read([server], options.signal)
    await this.#ask({ server, state: 'drain' }, options.signal)
    const began = performance.now()
    let last = -1
    for (;;) {
      const [seen] = await this.read([server], options.signal)
      if (seen!.inFlight !== last) {
        last = seen!.inFlight
        options.onProgress?.(last)
      }
      if (last === 0 || performance.now() - began >= options.timeout) break
      await new Promise((resolve) => setTimeout(resolve, lookEvery))
    }
    await this.#ask({ server, state: 'out' }, options.signal)
    return { inFlight: last }
  }

  async register(server: string, options: RegisterOptions): Promise<void> {
    const began = performance.now()
    for (;;) {
      await this.#ask({ server, state: 'ready' }, options.signal)
      const [seen] = await this.read([server], options.signal)
      if (seen!.up) return
      if (performance.now() - began >= options.timeout)
        throw new DployError(
          'balancer.not_up',
          `The built-in balancer does not see ${server} as up after ${formatDuration(options.timeout)}: ${seen!.check}`,
          { where: server },
        )
      await new Promise((resolve) => setTimeout(resolve, lookEvery))
    }
  }

  async counters(signal: AbortSignal): Promise<TrafficCounters> {
    return (await this.#ask(null, signal)).counters
  }

  async serverCounters(servers: readonly string[], signal: AbortSignal): Promise<Map<string, ServerCounters>> {
    const { servers: all } = await this.#ask(null, signal)
    return new Map(all.flatMap(({ server, counted }) => (servers.includes(server) ? [[server, counted] as const] : [])))
  }

  async [Symbol.asyncDispose](): Promise<void> {}

  async #ask(
    change: z.infer<typeof controlRequestSchema> | null,
    signal: AbortSignal,
  ): Promise<z.infer<typeof controlAnswerSchema>> {
    signal.throwIfAborted()
    let response: Response
    try {
      response = await fetch(this.#address, {
        signal,
        ...(change === null ? {} : { method: 'POST', body: JSON.stringify(change) }),
      })
    } catch (cause) {
      signal.throwIfAborted()
      throw new DployError('balancer.unreachable', `The built-in balancer at ${this.#address} does not answer`, {
        where: this.#address,
        cause,
      })
    }
    if (response.status === 404)
      throw new DployError('balancer.unknown_server', `The built-in balancer has no server ${change?.server}`, {
        where: this.#address,
      })
    return controlAnswerSchema.parse(await response.json())
  }
}

export const builtinDriver: BalancerDriver<'builtin'> = { kind: 'builtin', open: (config) => new Builtin(config) }
