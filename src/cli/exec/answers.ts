import type { CommandOutcome } from '../../protocol/api/commands.ts'
import { outcomeText } from './exit-code.ts'

export interface Chunk {
  stream: 'stdout' | 'stderr'
  bytes: Buffer
}

/** What one server printed, whole, and what came of it. */
export interface Answer {
  outcome: CommandOutcome
  chunks: Chunk[]
}

export interface Group {
  servers: string[]
  answer: Answer
}

/** Servers that answered the same, byte for byte, and ended the same way; in the order of their first. Pure. */
export function foldAnswers(answers: readonly Answer[]): Group[] {
  const groups = new Map<string, Group>()
  for (const answer of answers) {
    const of = (stream: Chunk['stream']) =>
      Buffer.concat(answer.chunks.filter((chunk) => chunk.stream === stream).map((chunk) => chunk.bytes)).toString(
        'latin1',
      )
    const key = JSON.stringify([outcomeText(answer.outcome), of('stdout'), of('stderr')])
    const group = groups.get(key)
    if (group) group.servers.push(answer.outcome.server)
    else groups.set(key, { servers: [answer.outcome.server], answer })
  }
  return [...groups.values()]
}

/** `web1`, or `12 servers`. */
export function countText(servers: readonly string[]): string {
  return servers.length === 1 ? servers[0]! : `${servers.length} servers`
}

/** The names, as many as there is room for: `web1, web2 and 10 more`. */
export function namesText(servers: readonly string[], width: number): string {
  for (let shown = servers.length; shown > 0; shown--) {
    const text = `${servers.slice(0, shown).join(', ')}${shown < servers.length ? ` and ${servers.length - shown} more` : ''}`
    if (text.length <= width || shown === 1) return text
  }
  return ''
}

/** How it went everywhere, in one line: `11 servers: code 0 · web3: code 2`. */
export function summaryText(outcomes: readonly CommandOutcome[]): string {
  const groups = Map.groupBy(outcomes, outcomeText)
  return [...groups].map(([text, members]) => `${countText(members.map((one) => one.server))}: ${text}`).join(' · ')
}

/** What to do next about each problem that there was, as lines; empty if there was none. */
export function fixesText(outcomes: readonly CommandOutcome[]): string {
  const lines = outcomes.flatMap(({ problem }) =>
    problem === null ? [] : [`  next: ${problem.fix}\n  (${problem.code})\n`],
  )
  return [...new Set(lines)].join('')
}
