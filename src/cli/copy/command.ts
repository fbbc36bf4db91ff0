import { spawn } from 'node:child_process'
import { createHash, randomUUID } from 'node:crypto'
import {
  closeSync,
  createReadStream,
  fchmodSync,
  fsyncSync,
  mkdirSync,
  openSync,
  renameSync,
  rmSync,
  statSync,
  writeSync,
  type Stats,
} from 'node:fs'
import type { Socket } from 'node:net'
import { basename, dirname, join, resolve } from 'node:path'
import { Command } from 'commander'
import type { CommandOutcome } from '../../protocol/api/commands.ts'
import { formatDuration } from '../../protocol/duration.ts'
import { DployError } from '../../protocol/errors.ts'
import { stalledAfter, StallWatch } from '../../protocol/stall-watch.ts'
import { exitCodeOf } from '../exec/exit-code.ts'
import { complain, makeOutput, type Output } from '../output.ts'
import { readProject } from '../project.ts'
import { openSession, requester, type Session } from '../session.ts'
import { readPlace, type Place } from './addresses.ts'
import { Progress } from './progress.ts'

/** The control plane says which server does not move; when it does not move itself, that is said here. Milliseconds. */
const toldAfter = stalledAfter + 15_000

type There = Extract<Place, { kind: 'there' }>

export function copyCommand(): Command {
  return new Command('copy')
    .description('copy a file to servers, or from them')
    .argument('<from>', 'a file here, or SERVER:/path, or ENVIRONMENT:/path')
    .argument('<to>', 'the same')
    .option('--environment <name>', 'the environment that the server is in; by default the first that has it')
    .option('--json', 'one JSON object a line', false)
    .addHelpText(
      'after',
      `
A file arrives whole, with the digest that it had, or not at all. From several servers, each file comes into a directory
named as its server.

Examples:
  $ dploy copy shop.conf web1:/etc/shop.conf
  $ dploy copy maintenance.html production:/srv/shop/shared/
  $ dploy copy web1:/var/log/syslog .
  $ dploy copy production:/var/log/syslog logs/`,
    )
    .action(async (from: string, to: string, options: { environment?: string; json: boolean }, command: Command) => {
      const output = makeOutput(options)
      const { config: file } = command.optsWithGlobals<{ config?: string }>()
      const { config } = readProject(file, process.cwd())
      const [source, target] = [
        readPlace(from, config, options.environment),
        readPlace(to, config, options.environment),
      ]
      const stop = new AbortController()
      for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const)
        process.once(signal, () => stop.abort(new Error('interrupted')))
      const there = source.kind === 'there' ? source : target
      if (there.kind === 'here' || source.kind === target.kind)
        throw new DployError('request.invalid', 'One of the two has to be on a server', {
          fix: 'For example: dploy copy shop.conf web1:/etc/shop.conf',
        })
      await using session = await openSession(command, there.environment)
      using progress = new Progress(output)
      try {
        const outcomes =
          source.kind === 'here'
            ? await copyTo(session, source.path, there, progress, stop.signal)
            : await copyFrom(session, there, target.path, progress, stop.signal)
        progress.end()
        report(outcomes, output)
      } catch (error) {
        if (!stop.signal.aborted) throw error
        process.exitCode = 130
      }
    })
}

async function copyTo(
  session: Session,
  path: string,
  to: There,
  progress: Progress,
  signal: AbortSignal,
): Promise<CommandOutcome[]> {
  const stat = fileHere(path)
  const hash = createHash('sha256')
  for await (const chunk of createReadStream(path)) hash.update(chunk as Buffer)
  const still = new AbortController()
  let sent = 0
  using watch = new StallWatch({
    limit: toldAfter,
    // From then on the servers write it to their disks.
    waits: () => sent < stat.size,
    onStall: () => still.abort(standsStill(path)),
  })
  const content = async function* () {
    for await (const chunk of createReadStream(path)) {
      yield chunk as Buffer
      watch.moved()
      sent += (chunk as Buffer).length
      progress.add((chunk as Buffer).length)
    }
  }
  progress.begin(
    stat.size,
    `${basename(path)} to ${to.servers.length === 1 ? to.servers[0]! : `${to.servers.length} servers`}`,
  )
  const query = {
    server: to.servers,
    path: to.path,
    name: basename(path),
    size: stat.size,
    mode: stat.mode & 0o777,
    digest: hash.digest('hex'),
    requestedBy: requester(),
  }
  return (
    await session.client.copyTo({ params: session.params, query }, content(), {
      signal: AbortSignal.any([signal, still.signal]),
    })
  ).outcomes
}

async function copyFrom(
  session: Session,
  from: There,
  to: string,
  progress: Progress,
  signal: AbortSignal,
): Promise<CommandOutcome[]> {
  const many = from.servers.length > 1
  const directory = statSync(to, { throwIfNoEntry: false })?.isDirectory() === true
  if (!many && !directory && to.endsWith('/'))
    throw new DployError('file.unwritable', `There is no directory ${to} here`)
  if (many && !directory && statSync(to, { throwIfNoEntry: false }))
    throw new DployError(
      'file.unwritable',
      `${to} is no directory, and there is a file of each of ${from.servers.length} servers`,
    )
  const targets = new Map(
    from.servers.map((server) => [
      server,
      new Arriving(many ? join(to, server, basename(from.path)) : directory ? join(to, basename(from.path)) : to),
    ]),
  )
  const outcomes: CommandOutcome[] = []
  const still = new AbortController()
  using watch = new StallWatch({ limit: toldAfter, onStall: () => still.abort(standsStill(from.path)) })
  try {
    const announced = new Set<string>()
    for await (const event of session.client.stream(
      'copyFrom',
      { params: session.params, query: { server: from.servers, path: from.path, requestedBy: requester() } },
      { signal: AbortSignal.any([signal, still.signal]) },
    )) {
      watch.moved()
      if (event.kind === 'data') {
        if (!announced.has(event.server))
          progress.begin(
            event.size,
            `${basename(from.path)} from ${many ? `${from.servers.length} servers` : event.server}`,
          )
        announced.add(event.server)
        const bytes = Buffer.from(event.base64, 'base64')
        targets.get(event.server)!.write(bytes)
        progress.add(bytes.length)
      }
      if (event.kind === 'ended') {
        if (event.file) targets.get(event.outcome.server)!.finish(event.file)
        outcomes.push(event.outcome)
      }
    }
  } finally {
    for (const target of targets.values()) target[Symbol.dispose]()
  }
  return outcomes
}

/** A file that comes in pieces: under a name of its own until it is whole. */
class Arriving implements Disposable {
  readonly #path: string
  readonly #temporary: string
  readonly #hash = createHash('sha256')
  #file: number | null = null
  #tether: Disposable | null = null
  #done = false

  constructor(path: string) {
    this.#path = resolve(path)
    this.#temporary = join(dirname(this.#path), `.${basename(path).slice(0, 100)}.dploy-${randomUUID()}`)
  }

  write(bytes: Buffer): void {
    this.#hash.update(bytes)
    for (let done = 0; done < bytes.length;) done += writeSync(this.#open(), bytes, done)
  }

  /** Throws `file.changed`. */
  finish(file: { mode: number; digest: string }): void {
    const open = this.#open()
    if (this.#hash.digest('hex') !== file.digest)
      throw new DployError('file.changed', `What came for ${this.#path} is not what its server sent`)
    fchmodSync(open, file.mode)
    fsyncSync(open)
    renameSync(this.#temporary, this.#path)
    this.#done = true
  }

  #open(): number {
    if (this.#file !== null) return this.#file
    try {
      mkdirSync(dirname(this.#path), { recursive: true })
      this.#tether = tether(this.#temporary)
      return (this.#file = openSync(this.#temporary, 'wx', 0o600))
    } catch (error) {
      throw new DployError('file.unwritable', `${this.#path} cannot be written: ${(error as Error).message}`, {
        cause: error,
      })
    }
  }

  [Symbol.dispose](): void {
    if (this.#file !== null) closeSync(this.#file)
    this.#file = null
    if (!this.#done) rmSync(this.#temporary, { force: true })
    this.#tether?.[Symbol.dispose]()
  }
}

/** Removes a file when this process dies, however it does. */
function tether(path: string): Disposable {
  const child = spawn('sh', ['-c', 'read -r end; rm -f -- "$1"', 'sh', path], {
    stdio: ['pipe', 'ignore', 'ignore'],
    detached: true,
    cwd: '/',
  })
  child.on('error', () => {})
  child.stdin.on('error', () => {})
  child.unref()
  ;(child.stdin as Socket).unref()
  return { [Symbol.dispose]: () => void child.kill('SIGKILL') }
}

function standsStill(path: string): DployError {
  return new DployError(
    'file.stalled',
    `The copy of ${path} has not moved for ${formatDuration(toldAfter)}: the control plane does not answer`,
  )
}

function fileHere(path: string): Stats {
  const stat = statSync(path, { throwIfNoEntry: false })
  if (!stat) throw new DployError('file.unreadable', `There is no file ${path} here`)
  if (!stat.isFile())
    throw new DployError(
      'file.unreadable',
      `${path} is ${stat.isDirectory() ? 'a directory' : 'no regular file'}`,
      stat.isDirectory() ? { fix: `Pack it first: tar czf /tmp/${basename(path)}.tgz ${path}` } : {},
    )
  return stat
}

function report(outcomes: readonly CommandOutcome[], output: Output): void {
  const failed = outcomes.filter((outcome) => outcome.problem !== null)
  if (output.mode === 'json')
    output.result({
      state: failed.length === 0 ? 'succeeded' : 'failed',
      failure: failed[0]?.problem ?? null,
      outcomes,
    })
  else {
    for (const { server, problem } of failed)
      complain(`${server}: ${problem!.message}\n  next: ${problem!.fix}\n  (${problem!.code})`)
    if (failed.length < outcomes.length)
      output.line(
        `Copied, digest verified: ${outcomes
          .filter((outcome) => outcome.problem === null)
          .map((outcome) => outcome.server)
          .join(', ')}`,
      )
  }
  // 255 is for servers that were not reached, as with exec; whatever else went wrong is 1.
  process.exitCode =
    failed.length === 0
      ? 0
      : failed.every(({ problem }) => problem!.code === 'server.unreachable')
        ? exitCodeOf(outcomes)
        : 1
}
