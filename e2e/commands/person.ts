import assert from 'node:assert/strict'
import { spawn, type ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import { program } from './team.ts'

/** The program that makes a terminal for the tests, as it does on servers. */
export const script = '/usr/bin/script'

/** `dploy` in a terminal of its own, with somebody who types. */
export class Person implements AsyncDisposable {
  readonly child: ChildProcess
  shown = ''
  readonly #place: { directory: string; environment: NodeJS.ProcessEnv }

  /** `place`: where dploy.yml is, and the environment of `dploy`; `args`: what it is given, words without spaces. */
  constructor(place: { directory: string; environment: NodeJS.ProcessEnv }, ...args: string[]) {
    this.#place = place
    // Notes how the terminal was set before and after.
    writeFileSync(
      join(place.directory, 'person.sh'),
      'stty cols 90 rows 30; stty -g > before; "$@" ; code=$?; stty -g > after; exit $code\n',
    )
    this.child = spawn(script, ['-q', '-f', '-e', '-c', 'exec sh person.sh "$NODE" "$PROGRAM" $ARGS', '/dev/null'], {
      cwd: place.directory,
      env: {
        ...place.environment,
        TERM: 'xterm-256color',
        NODE: process.execPath,
        PROGRAM: program,
        ARGS: args.join(' '),
      },
      stdio: ['pipe', 'pipe', 'inherit'],
      detached: true,
    })
    this.child.stdout!.on('data', (chunk: Buffer) => (this.shown += chunk.toString()))
  }

  type(text: string): void {
    this.child.stdin!.write(text)
  }

  async sees(pattern: RegExp, patience = 20_000): Promise<void> {
    for (const deadline = Date.now() + patience; !pattern.test(this.shown); await delay(20)) {
      if (Date.now() > deadline)
        assert.fail(`${String(pattern)} was not shown within ${patience} ms:\n${JSON.stringify(this.shown)}`)
    }
  }

  /** The CLI's own process. */
  get dploy(): number {
    const below = (pid: number): number[] =>
      readFileSync(`/proc/${pid}/task/${pid}/children`, 'utf8')
        .trim()
        .split(' ')
        .filter(Boolean)
        .map(Number)
        .flatMap((child) => [child, ...below(child)])
    return below(this.child.pid!).find((pid) =>
      readFileSync(`/proc/${pid}/cmdline`, 'utf8').startsWith(process.execPath),
    )!
  }

  async code(patience = 60_000): Promise<number> {
    const late = AbortSignal.timeout(patience)
    if (this.child.exitCode === null)
      await once(this.child, 'exit', { signal: late }).catch(() =>
        assert.fail(`it did not end within ${patience} ms:\n${JSON.stringify(this.shown)}`),
      )
    return this.child.exitCode!
  }

  /** Whether the terminal is as it was. */
  restored(): void {
    assert.equal(
      readFileSync(join(this.#place.directory, 'after'), 'utf8'),
      readFileSync(join(this.#place.directory, 'before'), 'utf8'),
    )
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (this.child.exitCode !== null || this.child.signalCode !== null) return
    const exit = once(this.child, 'exit')
    this.child.kill('SIGKILL')
    await exit
  }
}
