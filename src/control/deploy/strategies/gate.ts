import { setTimeout as delay } from 'node:timers/promises'
import type { Waiting } from '../../../protocol/deployment.ts'
import { formatDuration } from '../../../protocol/duration.ts'
import { DployError } from '../../../protocol/errors.ts'
import type { Run } from '../run/run.ts'

/** Between two looks at whether a person has said something. Milliseconds. */
const lookEvery = 300

/**
 * Waits before a batch, where somebody asked for a pause or `why` is given, until a person lets it go on; at once where one
 * did before a restart. Ends early when the signal aborts, for the caller to see. Throws `deployment.not_promoted` when
 * the time for it is up.
 */
export async function passGate(
  run: Run,
  before: number,
  why: { reason: Waiting['reason']; text: string } | null,
  signal: AbortSignal,
): Promise<void> {
  const { gates } = run.store
  const { pausedBy, passed, waiting: told } = await gates.get(run.id)
  const reason = pausedBy === null ? why : { reason: 'asked' as const, text: `${pausedBy} paused it` }
  if (reason === null || (pausedBy === null && passed >= before)) return
  const limit = run.environment.strategy.pause_limit
  const since = told?.before === before ? told.since : Date.now()
  if (told?.before !== before) await gates.wait(run.id, { ...reason, before, since, until: since + limit })
  for (;;) {
    // Whoever goes on after a restart finds what it waits for.
    if (signal.aborted) return
    const now = await gates.get(run.id)
    if (now.waiting === null) return
    if (Date.now() >= since + limit)
      throw new DployError(
        'deployment.not_promoted',
        `Nobody let it go on within ${formatDuration(limit)} (${reason.text})`,
      )
    await delay(lookEvery, undefined, { signal }).catch(() => {})
  }
}
