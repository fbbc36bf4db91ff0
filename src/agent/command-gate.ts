import { commandText, signedCommand, type CommandText } from '../protocol/agent-messages.ts'
import { DployError } from '../protocol/errors.ts'
import { sha256, verifyText } from '../protocol/signature.ts'

export interface GateOptions {
  /** Whose commands are obeyed. */
  controlKey: string
  /** Id of the server that this agent stands for. */
  server: string
  /** Highest fencing token seen for an application's environment. */
  epoch(application: string, environment: string): number
  raiseEpoch(application: string, environment: string, epoch: number): void
  now(): number
}

/**
 * Lets through only commands that the control plane signed, for this server, not expired, under a fencing token not
 * lower than any seen before. Whether an id came before is the journal's business: a repeated command is answered with
 * what came of it. Throws `command.refused`.
 */
export function admitCommand(params: unknown, body: Uint8Array, options: GateOptions): CommandText {
  const { text, signature } = parse(signedCommand, params)
  if (!verifyText(options.controlKey, text, signature))
    throw refused('it is not signed by the control plane that this agent joined')
  const command = parse(commandText, jsonOf(text))
  if (command.server !== options.server) throw refused('it is meant for another server')
  if (command.expires < options.now())
    throw refused(
      `it expired ${Math.round((options.now() - command.expires) / 1000)} s ago; check the clocks of server and control plane`,
    )
  if (command.body !== sha256(body)) throw refused('its body is not the one that was signed')
  if (command.epoch > 0) {
    const highest = options.epoch(command.application, command.environment)
    if (command.epoch < highest)
      throw refused(
        `its fencing token ${command.epoch} is older than ${highest}: another deployment has taken the lock`,
      )
    if (command.epoch > highest) options.raiseEpoch(command.application, command.environment, command.epoch)
  }
  return command
}

function parse<T>(
  schema: { safeParse(value: unknown): { success: true; data: T } | { success: false } },
  value: unknown,
): T {
  const parsed = schema.safeParse(value)
  if (!parsed.success) throw refused('it cannot be read')
  return parsed.data
}

function jsonOf(text: string): unknown {
  try {
    return JSON.parse(text)
  } catch {
    throw refused('it cannot be read')
  }
}

function refused(why: string): DployError {
  return new DployError('command.refused', `The command is refused: ${why}`)
}
