import type { Balancer, BalancerDriver } from '../contract.ts'

/** For environments without a balancer: nothing is drained, and the plan says what users will see of it. */
class None implements Balancer {
  readonly kind = 'none'
  readonly capabilities = { countsInFlight: false, counts: false, drains: false, reloads: false }

  async check(): Promise<void> {}

  async read(): Promise<[]> {
    return []
  }

  async drain(): Promise<{ inFlight: number }> {
    return { inFlight: 0 }
  }

  async register(): Promise<void> {}

  async counters(): Promise<null> {
    return null
  }

  async [Symbol.asyncDispose](): Promise<void> {}
}

export const noneDriver: BalancerDriver<'none'> = { kind: 'none', open: () => new None() }
