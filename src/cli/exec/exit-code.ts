import { constants } from 'node:os'
import type { CommandOutcome } from '../../protocol/api/commands.ts'

/**
 * One number for what came of the command on a server, as shells and their tools count: its exit code; 128 + the signal
 * that ended it; 124 when its time was up (timeout(1)); 126 when sudo refused it, as shells say of what they may not run; 255 when it was not reached (ssh(1)). Null: it was not begun.
 */
export function outcomeNumber(outcome: CommandOutcome): number | null {
  if (outcome.code !== null) return outcome.code
  if (outcome.signal !== null) return 128 + (constants.signals[outcome.signal as NodeJS.Signals] ?? 0)
  if (outcome.problem === null) return null
  if (outcome.problem.code === 'server.no_sudo') return 126
  return outcome.problem.code === 'command.timeout' ? 124 : 255
}

/** 0 if it went well everywhere; the number of those where it did not, if they agree; else 1. */
export function exitCodeOf(outcomes: readonly CommandOutcome[]): number {
  const failed = new Set(outcomes.map(outcomeNumber).filter((number) => number !== null && number !== 0))
  if (failed.size === 1) return [...failed][0]!
  return failed.size > 1 ? 1 : 0
}

/** What came of it on a server, for people. */
export function outcomeText(outcome: CommandOutcome): string {
  if (outcome.code !== null) return `code ${outcome.code}`
  if (outcome.signal !== null) return `ended by ${outcome.signal}`
  return outcome.problem === null ? 'not begun' : outcome.problem.message
}
