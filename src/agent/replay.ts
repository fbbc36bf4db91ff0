import type { AgentMethod, AgentParams } from '../protocol/agent-messages.ts'

/**
 * What becomes of a command that comes again, byte for byte: of the control plane that got no answer, or of somebody who
 * recorded it.
 * - `answered`: the journal answers with what came of the first, be it a failure; it is begun again only if it was cut off in
 *   the middle and nothing was begun after it in its place. So a step asked twice is done once.
 * - `refused`: what a person started, and what changes the agent itself; it is never begun again.
 * - `reads`: it changes nothing, so that it may be asked as often as somebody wants. The answer goes to who is connected, who is the
 *   control plane.
 * - `counted`: messages to what runs; each has its number.
 */
export type Replay = 'answered' | 'refused' | 'reads' | 'counted'

const table = {
  stage: 'answered',
  release_command: 'answered',
  boot: 'answered',
  retire: 'answered',
  activate: 'answered',
  collect: 'answered',
  exec: 'refused',
  receive_file: 'refused',
  send_file: 'refused',
  rotate_key: 'refused',
  upgrade: 'refused',
  hold: 'refused',
  observe: 'reads',
  watch: 'reads',
  check_health: 'reads',
  logs: 'reads',
  diagnose: 'reads',
  session: 'counted',
} as const satisfies Record<AgentMethod, Replay>

/** For a command with these parameters, which are valid. */
export function replayOf(method: AgentMethod, params: unknown): Replay {
  if (method !== 'hold') return table[method]
  const { take, give, force, record } = params as AgentParams<'hold'>
  return take === null && give === null && !force && record === null ? 'reads' : table.hold
}

/** Whether a method changes what the server runs: under a fencing token, and one after the other for an application's environment. */
export function isChanging(method: AgentMethod): boolean {
  return table[method] === 'answered'
}
