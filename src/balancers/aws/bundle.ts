import { DployError } from '../../protocol/errors.ts'
import { isSame, type Target } from './pool.ts'

/** How long a call waits for others to travel with it. Milliseconds; servers of a batch come within a few. */
const window = 15
/** Targets per call. No limit is documented; a call with a hundred is known to work. */
const most = 100

interface Order {
  targets: readonly Target[]
  done: PromiseWithResolvers<void>
}

/** Sends what is asked for at about the same time in one call. One wrong target spoils only the order it belongs to. */
export class Bundle {
  readonly #send: (targets: readonly Target[]) => Promise<void>
  #orders: Order[] = []

  constructor(send: (targets: readonly Target[]) => Promise<void>) {
    this.#send = send
  }

  add(targets: readonly Target[]): Promise<void> {
    const order = { targets, done: Promise.withResolvers<void>() }
    this.#orders.push(order)
    if (this.#orders.length === 1) setTimeout(() => this.#depart(), window)
    return order.done.promise
  }

  #depart(): void {
    const orders = this.#orders
    this.#orders = []
    for (const part of partsOf(orders)) void this.#perform(part)
  }

  async #perform(orders: readonly Order[]): Promise<void> {
    try {
      await this.#send(unique(orders.flatMap(({ targets }) => targets)))
      for (const { done } of orders) done.resolve()
    } catch (error) {
      if (orders.length > 1 && error instanceof DployError && error.code === 'balancer.unknown_server')
        await Promise.all(orders.map((order) => this.#perform([order])))
      else for (const { done } of orders) done.reject(error)
    }
  }
}

function partsOf(orders: readonly Order[]): Order[][] {
  const parts: Order[][] = []
  let room = 0
  for (const order of orders) {
    if (order.targets.length > room) {
      parts.push([])
      room = most
    }
    parts.at(-1)!.push(order)
    room -= order.targets.length
  }
  return parts
}

function unique(targets: readonly Target[]): Target[] {
  return targets.filter((target, index) => targets.findIndex((other) => isSame(other, target)) === index)
}
