import { once } from 'node:events'
import { Command } from 'commander'
import type { CommandOutcome, ExecEvent } from '../../protocol/api/commands.ts'
import type { PersonCommand } from '../../protocol/command-messages.ts'
import { formatDuration, parseDuration } from '../../protocol/duration.ts'
import { DployError } from '../../protocol/errors.ts'
import { table } from '../../protocol/terminal.ts'
import { ago } from '../ago.ts'
import { complain, makeOutput, type Output } from '../output.ts'
import { openSession, requester, type Session } from '../session.ts'
import { fixesText, summaryText } from './answers.ts'
import { exitCodeOf } from './exit-code.ts'
import { readTags } from './tags.ts'
import { ExecView } from './view.ts'

interface Options {
  on: string[]
  tag: string[]
  batch?: string
  serial: boolean
  timeout?: string
  sudo: boolean
  user?: string
  fold: boolean
  history: boolean
  json: boolean
}

const collect = (value: string, before: string[]) => [...before, value]

export function execCommand(): Command {
  return new Command('exec')
    .description('run a command on all servers of an environment, and show what they answer')
    .argument('[environment]')
    .argument('[command...]', 'after --: a program and its arguments; or one argument, which is a line for sh')
    .option('--on <server>', 'only on this server (again for more)', collect, [])
    .option('--tag <key=value>', 'only on servers with this tag (again: with all of them)', collect, [])
    .option('--batch <n>', 'so many servers at a time; stops after a batch in which one failed')
    .option('--serial', 'one server after the other; stops at the first that fails', false)
    .option('--timeout <duration>', 'how long each server has, for example 30s')
    .option('--sudo', 'as root', false)
    .option('--user <name>', 'as this user')
    .option('--no-fold', 'show every line as it comes, also when servers answer the same')
    .option('--history', 'show what was run: who, when, what, and what came of it', false)
    .option('--json', 'one JSON object a line', false)
    .addHelpText(
      'after',
      `
Runs in the directory of the current release with its variables. Ctrl-C ends it on all servers.
Exit code: 0 if it was 0 everywhere; the code of the servers where it was not, if they agree; else 1.
124: its time was up; 126: sudo refused it; 255: a server was not reached; 130: Ctrl-C.

Examples:
  $ dploy exec production -- uptime
  $ dploy exec production --tag role=web -- 'ps aux | grep node'
  $ dploy exec production --serial --sudo --timeout 1m -- systemctl restart cron`,
    )
    .action(async (_environment: string | undefined, _words: string[], options: Options, command: Command) => {
      const output = makeOutput(options)
      const { environment, words } = afterDashes(command.args, process.argv, options.history)
      await using session = await openSession(command, environment)
      if (options.history) return await showHistory(session, output)
      await runEverywhere(session, personCommand(words), options, output)
    })
}

/** One argument is a line for the shell, several are a program and its arguments. */
function personCommand(words: readonly string[]): PersonCommand {
  const [file, ...args] = words
  if (file === undefined || file.trim() === '')
    throw new DployError('request.invalid', 'No command was given', {
      fix: 'Name it after --, for example: dploy exec production -- uptime',
    })
  return args.length === 0 ? { line: file } : { file, args }
}

/** What stands before `--` and what after it. Without it, the first word is the environment. */
export function afterDashes(
  words: readonly string[],
  argv: readonly string[],
  noCommand: boolean,
): { environment: string | undefined; words: string[] } {
  const dashes = argv.indexOf('--')
  const before = dashes < 0 ? Math.min(1, words.length) : words.length - (argv.length - dashes - 1)
  if (before > 1)
    throw new DployError('request.invalid', `"${words[1]}" stands between the environment and --`, {
      fix: `Write: dploy exec ${words[0]} -- COMMAND`,
    })
  const after = words.slice(before)
  if (noCommand && after.length > 0) throw new DployError('request.invalid', '--history runs no command')
  return { environment: before === 0 ? undefined : words[0], words: after }
}

async function runEverywhere(
  session: Session,
  command: PersonCommand,
  options: Options,
  output: Output,
): Promise<void> {
  const stop = new AbortController()
  let run: string | null = null
  let interrupted = false
  const interrupt = () => {
    if (interrupted || run === null) return stop.abort(new Error('interrupted'))
    interrupted = true
    process.stderr.write('\nEnding it on all servers. Ctrl-C again: not to wait for them.\n')
    session.client.call('interruptRun', { params: { run } }).catch(() => {})
  }
  const hangUp = () => stop.abort(new Error('ended'))
  process.on('SIGINT', interrupt).on('SIGTERM', hangUp).on('SIGHUP', hangUp)
  process.stdout.on('error', hangUp)
  const outcomes: CommandOutcome[] = []
  const began = performance.now()
  let show: Show | null = null
  try {
    const body = {
      command,
      on: { servers: options.on, tags: readTags(options.tag) },
      batch: options.serial ? 1 : readBatch(options.batch),
      timeout: options.timeout === undefined ? null : parseDuration(options.timeout),
      sudo: options.sudo,
      ...(options.user === undefined ? {} : { user: options.user }),
      requestedBy: requester(),
    }
    for await (const event of session.client.stream(
      'exec',
      { params: session.params, body },
      { signal: stop.signal },
    )) {
      if (event.kind === 'started') {
        run = event.run
        show = makeShow(event.servers, options, output)
      }
      if (event.kind === 'ended') outcomes.push(event.outcome)
      await show!.event(event)
    }
    await show?.end()
    if (show?.many)
      complain(
        `${summaryText(outcomes)} · ${formatDuration(performance.now() - began)}\n${fixesText(outcomes)}`.trimEnd(),
      )
    else if (output.mode !== 'json')
      for (const { problem, signal } of outcomes)
        if (problem || signal)
          complain(`dploy: ${summaryText(outcomes)}${problem ? `\n  next: ${problem.fix}\n  (${problem.code})` : ''}`)
    if (output.mode === 'json')
      output.result({
        state: exitCodeOf(outcomes) === 0 ? 'succeeded' : 'failed',
        run,
        exitCode: exitCodeOf(outcomes),
        outcomes,
      })
    process.exitCode = interrupted ? 130 : exitCodeOf(outcomes)
  } catch (error) {
    if (!stop.signal.aborted) throw error
    process.exitCode = 130
  } finally {
    show?.dispose()
    process.off('SIGINT', interrupt).off('SIGTERM', hangUp).off('SIGHUP', hangUp)
  }
}

interface Show {
  many: boolean
  event(event: ExecEvent): Promise<void>
  end(): Promise<void>
  dispose(): void
}

function makeShow(servers: readonly string[], options: Options, output: Output): Show {
  const nothing = { end: async () => {}, dispose() {} }
  if (output.mode === 'json')
    return {
      ...nothing,
      many: false,
      event: (event) =>
        write('stdout', Buffer.from(`${JSON.stringify({ type: event.kind, ...event, kind: undefined })}\n`)),
    }
  const bytesOf = (event: Extract<ExecEvent, { kind: 'output' }>) =>
    'text' in event ? Buffer.from(event.text, 'utf8') : Buffer.from(event.base64, 'base64')
  if (servers.length === 1) {
    return {
      ...nothing,
      many: false,
      event: async (event) => (event.kind === 'output' ? write(event.stream, bytesOf(event)) : undefined),
    }
  }
  const view = new ExecView({
    servers,
    width: output.width(),
    color: output.color,
    fold: options.fold,
    terminals: { stdout: process.stdout.isTTY, stderr: process.stderr.isTTY },
    write,
  })
  // One after the other: what is held is shown by a timer while output goes on.
  let turn = Promise.resolve()
  const inTurn = (work: () => Promise<void>) => (turn = turn.then(work))
  const timer = setInterval(() => {
    if (view.due !== null && view.due < performance.now()) void inTurn(() => view.flush()).catch(() => {})
  }, 100)
  return {
    many: true,
    event: (event) =>
      inTurn(async () => {
        if (event.kind === 'output') await view.output(event.server, { stream: event.stream, bytes: bytesOf(event) })
        else if (event.kind === 'ended') await view.ended(event.outcome)
      }),
    end: () => inTurn(() => view.flush()),
    dispose: () => clearInterval(timer),
  }
}

/** Writes at the pace of whoever reads: a terminal, a pipe. */
async function write(name: 'stdout' | 'stderr', bytes: Buffer): Promise<void> {
  const stream = process[name]
  if (bytes.length > 0 && !stream.write(bytes)) await Promise.race([once(stream, 'drain'), once(stream, 'close')])
}

function readBatch(text: string | undefined): number | null {
  if (text === undefined) return null
  const batch = Number(text)
  if (!Number.isInteger(batch) || batch < 1)
    throw new DployError('request.invalid', `"${text}" is not a number of servers`, { fix: 'For example: --batch 4' })
  return batch
}

async function showHistory(session: Session, output: Output): Promise<void> {
  const { runs } = await session.client.call('runs', { params: session.params, query: {} })
  if (output.mode === 'json') return runs.forEach((run) => output.json({ type: 'run', ...run }))
  if (runs.length === 0) return output.line('Nothing was run yet.')
  const rows = runs.map((run) => [
    ago(run.startedAt, Date.now()),
    run.requestedBy,
    run.kind,
    run.command,
    run.finishedAt === null ? 'not finished' : summaryText(run.outcomes),
  ])
  for (const line of table([['', 'by', '', 'command', 'servers'], ...rows], output.width())) output.line(line)
}
