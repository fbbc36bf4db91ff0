import { setTimeout as delay } from 'node:timers/promises'
import type { MachineFacts } from '../../protocol/machine.ts'
import { DployError } from '../../protocol/errors.ts'
import type { Peer } from '../../protocol/peer.ts'

/** How often the control plane is told how the machine is, and how much sooner or later, so that not all agents tell it at once. Milliseconds. */
const every = 30_000
const spread = 5_000

/** Tells the control plane how this machine is, until the connection ends or it turns out not to know what that means. */
export async function reportMachine(
  peer: Pick<Peer, 'call' | 'closed'>,
  read: () => MachineFacts,
  pause: (ms: number) => number = (ms) => ms,
): Promise<void> {
  const ended = new AbortController()
  void peer.closed.then(() => ended.abort())
  // The first soon: whoever looks at a new server wants to see it.
  for (let wait = 500 + Math.random() * spread; ; wait = every + (Math.random() - 0.5) * spread) {
    await delay(pause(wait), undefined, { signal: ended.signal, ref: false }).catch(() => {})
    if (ended.signal.aborted) return
    try {
      await peer.call('report', read(), { signal: ended.signal })
    } catch (error) {
      if (error instanceof DployError && error.code === 'protocol.invalid') return
    }
  }
}
