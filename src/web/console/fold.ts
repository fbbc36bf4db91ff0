import type { CommandOutcome, ExecEvent } from '../../protocol/api/commands.ts'

/** What one server printed so far, and what came of it; `outcome` null: it runs. */
export interface Answer {
  server: string
  text: string
  outcome: CommandOutcome | null
}

/** How much of one server's output is kept: the end of it. Characters. */
export const keptText = 200_000

/** The answers after one more event. Bytes that are no text are counted, not shown. */
export function withEvent(answers: ReadonlyMap<string, Answer>, event: ExecEvent): Map<string, Answer> {
  if (event.kind === 'started')
    return new Map(event.servers.map((server) => [server, { server, text: '', outcome: null }]))
  const next = new Map(answers)
  const name = event.kind === 'ended' ? event.outcome.server : event.server
  const before = next.get(name) ?? { server: name, text: '', outcome: null }
  if (event.kind === 'ended') next.set(name, { ...before, outcome: event.outcome })
  else
    next.set(name, {
      ...before,
      text: (before.text + ('text' in event ? event.text : '[bytes that are no text]')).slice(-keptText),
    })
  return next
}

export function outcomeText(outcome: CommandOutcome | null): string {
  if (outcome === null) return 'runs'
  if (outcome.problem) return outcome.problem.message
  if (outcome.signal !== null) return `ended by ${outcome.signal}`
  return outcome.code === null ? 'not begun' : `code ${outcome.code}`
}

export interface Group {
  servers: string[]
  text: string
  outcome: CommandOutcome | null
}

/** Servers that answered the same and ended the same way, together; the largest group first, those that still run last. */
export function fold(answers: Iterable<Answer>): Group[] {
  const groups = new Map<string, Group>()
  for (const { server, text, outcome } of answers) {
    const key = JSON.stringify([outcomeText(outcome), text])
    const group = groups.get(key)
    if (group) group.servers.push(server)
    else groups.set(key, { servers: [server], text, outcome })
  }
  return [...groups.values()].sort(
    (a, b) => Number(a.outcome === null) - Number(b.outcome === null) || b.servers.length - a.servers.length,
  )
}
