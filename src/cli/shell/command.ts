import { once } from 'node:events'
import { Command } from 'commander'
import { Typist } from '../../client/typist.ts'
import type { CommandOutcome } from '../../protocol/api/commands.ts'
import { DployError } from '../../protocol/errors.ts'
import { exitCodeOf } from '../exec/exit-code.ts'
import { readProject } from '../project.ts'
import { openSession, requester, type Session } from '../session.ts'
import { EscapeKeys } from './escape.ts'
import { RawTerminal, terminalSize } from './raw-terminal.ts'

interface Options {
  environment?: string
  user?: string
  sudo: boolean
}

export function shellCommand(): Command {
  return new Command('shell')
    .description('an interactive terminal on a server, through its agent')
    .argument('<server>')
    .option('--environment <name>', 'the environment that the server is in; by default the first that has it')
    .option('--user <name>', 'as this user')
    .option('--sudo', 'as root', false)
    .addHelpText(
      'after',
      '\nNeeds no SSH. ~. at the beginning of a line gives up a connection that hangs.\n\nExamples:\n  $ dploy shell web1\n  $ dploy shell web1 --user www-data',
    )
    .action(async (server: string, options: Options, command: Command) => {
      if (!process.stdin.isTTY || !process.stdout.isTTY) throw new DployError('shell.needs_terminal')
      const { config } = command.optsWithGlobals<{ config?: string }>()
      const { environments } = readProject(config, process.cwd()).config
      const environment =
        options.environment ??
        Object.keys(environments).find((name) => environments[name]!.servers.some((one) => one.name === server))
      if (environment === undefined)
        throw new DployError('server.unknown', `dploy.yml names no server ${server}`, {
          fix: 'Servers stand under environments in dploy.yml; what runs where says: dploy status',
        })
      await using session = await openSession(command, environment)
      const outcome = await talk(session, server, options)
      if (outcome?.problem) throw DployError.from(outcome.problem)
      process.exitCode = outcome === null ? 255 : exitCodeOf([outcome])
    })
}

/** Shows the server's terminal in this one until it ends. Null: the person gave up. */
async function talk(session: Session, server: string, options: Options): Promise<CommandOutcome | null> {
  const stop = new AbortController()
  const body = {
    ...terminalSize(),
    kind: /^[A-Za-z0-9._+-]{1,60}$/.test(process.env.TERM ?? '') ? process.env.TERM! : 'xterm-256color',
    sudo: options.sudo,
    ...(options.user === undefined ? {} : { user: options.user }),
    requestedBy: requester(),
  }
  let terminal: RawTerminal | null = null
  let typist: Typist | null = null
  const keys = new EscapeKeys()
  const typed = (bytes: Buffer) => {
    const { send, giveUp } = keys.push(bytes)
    if (giveUp) stop.abort(new Error('given up'))
    else typist?.type(send)
  }
  const resized = () => typist?.resize(terminalSize())
  process.stdout.on('resize', resized)
  let outcome: CommandOutcome | null = null
  try {
    for await (const event of session.client.stream(
      'shell',
      { params: { ...session.params, server }, body },
      { signal: stop.signal },
    )) {
      if (event.kind === 'started') {
        typist = new Typist(session.client, event.run)
        // Until here the terminal is ssh's, which may have asked something on it. What was typed since is still to be read.
        terminal = new RawTerminal(() => stop.abort(new Error('ended')), typed)
      }
      if (event.kind === 'ended') outcome = event.outcome
      if (
        event.kind === 'output' &&
        !process.stdout.write('text' in event ? event.text : Buffer.from(event.base64, 'base64'))
      )
        await once(process.stdout, 'drain')
    }
  } catch (error) {
    if (!stop.signal.aborted) throw error
  } finally {
    process.stdout.off('resize', resized)
    terminal?.[Symbol.dispose]()
  }
  if (outcome === null) process.stderr.write('The connection was given up; the shell on the server ends.\n')
  return outcome
}
