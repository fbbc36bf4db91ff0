import { request as httpRequest } from 'node:http'
import type { Socket } from 'node:net'

export interface PoolOptions {
  name: string
  /** Default port of targets. */
  port: number
  kind: 'application' | 'network' | 'classic'
  targetType: 'instance' | 'ip'
  /** Deregistration delay (connection draining of a classic balancer; 0 there: disabled). Seconds. */
  delay: number
  /** Seconds between two health checks, and until one fails. */
  interval: number
  timeout: number
  healthy: number
  unhealthy: number
  path: string
  /** Slow start. Seconds; 0: none. */
  slowStart: number
  /** Whether a load balancer uses it. */
  used: boolean
  /** How long the balancer's nodes still do what was asked before, after an answer of the API. Milliseconds. */
  lag: number
}

export interface PoolTarget {
  id: string
  port: number
}

export interface TargetState {
  state: 'initial' | 'healthy' | 'unhealthy' | 'draining' | 'unused'
  reason?: string
  description?: string
}

/**
 * The targets of one target group, or the instances of one classic balancer, and what the balancer does with them: real
 * health checks, and the states of "Health checks for your target groups" in its user guide. `second` is how many
 * milliseconds one of its seconds takes.
 */
export class Pool implements Disposable {
  readonly options: PoolOptions
  readonly #second: number
  readonly #hostOf: (id: string) => string | null
  readonly #entries = new Map<string, Entry>()
  /** On which port a target answers; by default on its own. */
  portOf = (target: PoolTarget): number => target.port
  #turn = 0

  constructor(options: PoolOptions, second: number, hostOf: (id: string) => string | null) {
    this.options = options
    this.#second = second
    this.#hostOf = hostOf
  }

  get targets(): PoolTarget[] {
    return [...this.#entries.values()].map(({ target }) => target)
  }

  /** Registers; a target that is draining begins anew. */
  register(targets: readonly PoolTarget[]): void {
    for (const target of targets) {
      const present = this.#entries.get(keyOf(target))
      if (present && present.until === null) continue
      present?.end()
      this.#entries.set(
        keyOf(target),
        new Entry(target, this.#hostOf(target.id)!, this.portOf(target), this.options, this.#second),
      )
    }
  }

  /** Begins draining; what is not registered is passed over, as AWS does. */
  deregister(targets: readonly PoolTarget[]): void {
    for (const target of targets) {
      const entry = this.#entries.get(keyOf(target))
      if (!entry || entry.until !== null) continue
      const delay = Math.max(this.options.delay * this.#second, this.options.lag)
      entry.drain(delay, () => {
        if (this.#entries.get(keyOf(target)) === entry) this.#entries.delete(keyOf(target))
      })
    }
  }

  state(target: PoolTarget): TargetState {
    const entry = this.#entries.get(keyOf(target))
    if (!entry)
      return {
        state: 'unused',
        reason: 'Target.NotRegistered',
        description: 'Target is not registered to the target group',
      }
    if (!this.options.used && entry.until === null)
      return {
        state: 'unused',
        reason: 'Target.NotInUse',
        description: 'Target group is not configured to receive traffic from the load balancer',
      }
    return entry.state
  }

  /** The target that the next request goes to; null if there is none. */
  next(): Entry | null {
    const all = [...this.#entries.values()].filter((entry) => entry.getsTraffic)
    const healthy = all.filter((entry) => entry.healthy)
    // With no healthy target left, all get traffic ("fail open").
    const open = healthy.length > 0 ? healthy : all
    return open.length === 0 ? null : open[this.#turn++ % open.length]!
  }

  [Symbol.dispose](): void {
    for (const entry of this.#entries.values()) entry.end()
    this.#entries.clear()
  }
}

/** One registered or draining target. */
export class Entry {
  readonly target: PoolTarget
  readonly host: string
  readonly port: number
  /** When it will be gone; null while it is registered. Milliseconds of performance.now. */
  until: number | null = null
  /** By its last health checks; also while it drains. */
  healthy = false
  state: TargetState = {
    state: 'initial',
    reason: 'Elb.RegistrationInProgress',
    description: 'Target registration is in progress',
  }
  /** Connections with requests in flight. */
  readonly sockets = new Set<Socket>()
  readonly #options: PoolOptions
  readonly #second: number
  readonly #timers = new Set<NodeJS.Timeout>()
  #passed = 0
  #failed = 0
  #stopsAt = Infinity
  #ended = false

  constructor(target: PoolTarget, host: string, port: number, options: PoolOptions, second: number) {
    this.target = target
    this.host = host
    this.port = port
    this.#options = options
    this.#second = second
    this.#after(options.lag, () => {
      this.state = {
        state: 'initial',
        reason: 'Elb.InitialHealthChecking',
        description: 'Initial health checks in progress',
      }
      void this.#check()
    })
  }

  get getsTraffic(): boolean {
    return performance.now() < this.#stopsAt && this.state.reason !== 'Elb.RegistrationInProgress'
  }

  drain(delay: number, gone: () => void): void {
    this.until = performance.now() + delay
    this.#stopsAt = performance.now() + this.#options.lag
    this.#stopTimers()
    this.state = {
      state: 'draining',
      reason: 'Target.DeregistrationInProgress',
      description: 'Target deregistration is in progress',
    }
    this.#after(delay, () => {
      // "The load balancer forcibly closes connections" that are left when the delay is over.
      for (const socket of this.sockets) socket.destroy()
      gone()
    })
  }

  end(): void {
    this.#ended = true
    this.#stopTimers()
  }

  async #check(): Promise<void> {
    const { interval, timeout, path, healthy, unhealthy, kind } = this.#options
    const began = performance.now()
    const problem = await ask(this.host, this.port, path, timeout * this.#second)
    if (this.#ended || this.until !== null) return
    if (problem === null) {
      this.#passed++
      this.#failed = 0
      // "After your target is registered, it must pass one health check to be considered healthy"; classic balancers ask for all.
      const first = this.state.state === 'initial' && kind !== 'classic'
      if (first || this.#passed >= healthy) this.#is(true, { state: 'healthy' })
    } else {
      this.#failed++
      this.#passed = 0
      if (this.#failed >= unhealthy) this.#is(false, { state: 'unhealthy', ...problem })
    }
    this.#after(Math.max(0, interval * this.#second - (performance.now() - began)), () => void this.#check())
  }

  #is(healthy: boolean, state: TargetState): void {
    this.healthy = healthy
    this.state = state
  }

  #after(ms: number, work: () => void): void {
    const timer = setTimeout(() => {
      this.#timers.delete(timer)
      work()
    }, ms)
    this.#timers.add(timer)
  }

  #stopTimers(): void {
    for (const timer of this.#timers) clearTimeout(timer)
    this.#timers.clear()
  }
}

/** One health check: null if it passed, else the reason. */
function ask(
  host: string,
  port: number,
  path: string,
  timeout: number,
): Promise<{ reason: string; description: string } | null> {
  return new Promise((resolve) => {
    const asked = httpRequest({ host, port, path, agent: false, timeout })
    asked.once('response', (answer) => {
      answer.resume()
      const status = answer.statusCode!
      resolve(
        status === 200
          ? null
          : {
              reason: 'Target.ResponseCodeMismatch',
              description: `Health checks failed with these codes: [${status}]`,
            },
      )
    })
    asked.once('timeout', () => {
      resolve({ reason: 'Target.Timeout', description: 'Request timed out' })
      asked.destroy()
    })
    asked.once('error', () => resolve({ reason: 'Target.FailedHealthChecks', description: 'Health checks failed' }))
    asked.end()
  })
}

export function keyOf(target: PoolTarget): string {
  return `${target.id} ${target.port}`
}
