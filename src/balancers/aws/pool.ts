import { isIP } from 'node:net'

/** What AWS sends traffic to: an instance or an address, and its port. A classic balancer knows no port of instances. */
export interface Target {
  id: string
  port: number | null
}

/** A target as AWS sees it. */
export interface SeenTarget extends Target {
  /** The states of ELB; those of a classic balancer are translated. `gone`: not registered, and nothing of it is left. */
  state: 'initial' | 'healthy' | 'unhealthy' | 'draining' | 'unused' | 'unavailable'
  /** What AWS says of it, for people: `unhealthy: Health checks failed with these codes: [503]`. */
  text: string
}

/** What of a pool's settings takes time. Seconds. */
export interface PoolSettings {
  /** How long AWS shows a target as draining after it was deregistered. */
  delay: number
  /** Between two health checks. */
  interval: number
  /** Healthy answers that a new target needs. */
  answers: number
  slowStart: number
}

/** What targets are registered in: a target group, or a classic balancer. */
export interface Pool {
  /** For people: `target group shop`. */
  readonly title: string
  /**
   * Reads what is needed to name targets; once. Throws `balancer.unknown_backend`. Answers the targets as this pool
   * names them: with their ports.
   */
  resolve(targets: readonly Target[], signal: AbortSignal): Promise<Target[]>
  /** Throws what would let every register or drain fail: `balancer.unknown_server`, `balancer.unknown_backend`. */
  check(targets: readonly Target[], signal: AbortSignal): Promise<PoolSettings>
  /** Everything that is registered or draining. */
  look(signal: AbortSignal): Promise<SeenTarget[]>
  register(targets: readonly Target[], signal: AbortSignal): Promise<void>
  deregister(targets: readonly Target[], signal: AbortSignal): Promise<void>
}

/** `i-0abc`, `i-0abc:3000`, `10.0.0.1:80`, `[2001:db8::1]:80`. */
export function parseTarget(text: string): Target {
  const [, bracketed, plain, port] = /^(?:\[([^\]]+)\]|([^:]+))(?::(\d+))?$/.exec(text)!
  return { id: bracketed ?? plain!, port: port === undefined ? null : Number(port) }
}

export function titleOf(target: Target): string {
  const id = isIP(target.id) === 6 ? `[${target.id}]` : target.id
  return target.port === null ? id : `${id}:${target.port}`
}

export function isSame(one: Target, other: Target): boolean {
  return one.id === other.id && one.port === other.port
}
