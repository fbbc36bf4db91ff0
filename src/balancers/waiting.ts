import { formatDuration } from '../protocol/duration.ts'
import { DployError } from '../protocol/errors.ts'
import { answers } from './answers.ts'
import type { DrainOptions, RegisterOptions } from './contract.ts'

/** Between two looks. Milliseconds. */
const lookEvery = 20
/**
 * How long nothing may be in flight before a server counts as drained. After a reload the replaced part may still be
 * reading a request, for which it then picks a server by its old list. Milliseconds.
 */
const settle = 60

/** Waits until nothing is in flight, or the time is up. Resolves with what is in flight then. */
export async function untilQuiet(look: () => Promise<number>, options: DrainOptions): Promise<{ inFlight: number }> {
  const began = performance.now()
  let quietSince = Number.POSITIVE_INFINITY
  let last = -1
  for (;;) {
    const inFlight = await look()
    options.signal.throwIfAborted()
    if (inFlight !== last) options.onProgress?.(inFlight)
    last = inFlight
    const now = performance.now()
    quietSince = inFlight === 0 ? Math.min(quietSince, now) : Number.POSITIVE_INFINITY
    if (now - quietSince >= settle || now - began >= options.timeout) return { inFlight }
    await new Promise((resolve) => setTimeout(resolve, lookEvery))
  }
}

/** Waits until a server answers at all its addresses, for balancers that do not check it. Throws `balancer.not_up`. */
export async function untilAnswers(
  server: string,
  addresses: readonly string[],
  path: string | undefined,
  options: RegisterOptions,
): Promise<void> {
  const began = performance.now()
  for (;;) {
    const bad = (await Promise.all(addresses.map((address) => answers(address, path)))).find((check) => !check.up)
    options.signal.throwIfAborted()
    if (!bad) return
    if (performance.now() - began >= options.timeout) {
      throw new DployError(
        'balancer.not_up',
        `${server} is not up after ${formatDuration(options.timeout)}, so the balancer does not get it back: ${bad.check}`,
        { where: server, fix: 'Check its address in the balancer, and balancer.check in dploy.yml' },
      )
    }
    await new Promise((resolve) => setTimeout(resolve, lookEvery))
  }
}
