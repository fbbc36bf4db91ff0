import { setTimeout as delay } from 'node:timers/promises'
import type { Balancer } from '../../../balancers/contract.ts'
import { DployError } from '../../../protocol/errors.ts'

/** As long as a restart of a balancer takes, with some room. Milliseconds. */
const patience = 30_000
/** Between two tries. Milliseconds. */
const tryEvery = 250

/** The calls that a deployment makes in the middle of its switches: there a balancer that is away is waited for. */
const patientCalls = ['read', 'drain', 'register', 'readdress', 'split'] as const

/**
 * A balancer as a deployment uses it once servers switch: one that restarts, or whose configuration somebody else broke for a
 * moment, is asked again for 30 s, above all on the way back. `check` is not: a deployment does not begin with a balancer
 * that is away. This is the one place that decides whether to ask again. `tell` is told once for each time that it is away.
 */
export function patientBalancer(balancer: Balancer, tell: (text: string) => void): Balancer {
  let away = false
  const again = async <T>(ask: () => Promise<T>, signal: AbortSignal): Promise<T> => {
    const deadline = performance.now() + patience
    for (;;) {
      try {
        const answer = await ask()
        if (away) tell('the balancer answers again')
        away = false
        return answer
      } catch (error) {
        signal.throwIfAborted()
        if (!isAway(error) || performance.now() >= deadline) throw error
        if (!away) tell(`${error.message}; asking again for ${patience / 1000} s`)
        away = true
        await delay(tryEvery, undefined, { signal })
      }
    }
  }
  return new Proxy(balancer, {
    get(target, name) {
      const value: unknown = Reflect.get(target, name, target)
      if (typeof value !== 'function') return value
      const call = value.bind(target) as (...args: unknown[]) => Promise<unknown>
      if (!(patientCalls as readonly unknown[]).includes(name)) return call
      return (...args: unknown[]) => again(() => call(...args), signalOf(args))
    },
  })
}

/** Whether it may answer in a moment: nobody listens, the connection broke off, or its configuration does not pass now. */
export function isAway(error: unknown): error is DployError {
  if (!(error instanceof DployError)) return false
  if (error.code !== 'balancer.unreachable' && error.code !== 'balancer.config_broken') return false
  const cause = error.cause as NodeJS.ErrnoException | undefined
  // Rights do not come by waiting.
  return cause?.code !== 'EACCES' && cause?.code !== 'EPERM'
}

function signalOf(args: readonly unknown[]): AbortSignal {
  for (const arg of args) {
    if (arg instanceof AbortSignal) return arg
    if (typeof arg === 'object' && arg !== null && 'signal' in arg && arg.signal instanceof AbortSignal)
      return arg.signal
  }
  return new AbortController().signal
}
