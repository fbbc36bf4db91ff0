// Needs the machine to itself.
import assert from 'node:assert/strict'
import { execFileSync, spawn, spawnSync, type ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import {
  chmodSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  rmSync,
  writeFileSync,
} from 'node:fs'
import { createConnection } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { describe, test } from 'node:test'
import { setTimeout as delay } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'

const top = fileURLToPath(new URL('../..', import.meta.url))
const program = [process.execPath, join(top, 'src/cli/main.ts')]

const isClone = existsSync(join(top, '.git'))

interface Line {
  type: string
  state?: string
  application?: string
  sent?: number
  failed?: number
  data?: { kind: string; state?: string }
  receipt?: {
    servers: { outcome: string; objects: number }[]
    traffic: { seen: number; failed: number; stalled: number }
  }
}

describe('dploy demo', { timeout: 240_000 }, () => {
  test(
    'in a fresh clone without packages: two deployments, the second under traffic, within a minute, and nothing is left',
    { skip: isClone ? false : 'the sources are in no git repository' },
    async (context) => {
      const clone = mkdtempSync(join(tmpdir(), 'dploy-clone-test-'))
      context.after(() => rmSync(clone, { recursive: true, force: true }))
      execFileSync('git', ['clone', '--quiet', top, clone])
      assert.ok(!existsSync(join(clone, 'node_modules')) && !existsSync(join(clone, 'dist')))
      const began = performance.now()
      await using demo = startDemo('--once', { program: [join(clone, 'bin/dploy')] })
      const ended = await demo.ended()
      const seconds = (performance.now() - began) / 1000
      assert.deepEqual(ended, { code: 0, signal: null }, demo.stderr)
      const results = demo.lines.filter(({ type }) => type === 'result')
      assert.deepEqual(
        results.map(({ state }) => state),
        ['succeeded', 'succeeded'],
      )
      for (const { receipt } of results)
        assert.deepEqual(
          receipt!.servers.map(({ outcome }) => outcome),
          ['switched', 'switched', 'switched', 'switched'],
        )
      const { traffic } = results[1]!.receipt!
      assert.ok(traffic.seen >= 200, `${traffic.seen} requests were seen`)
      assert.equal(traffic.failed, 0)
      assert.equal(demo.lines.at(-1), results[1], 'the last line is the result')
      const users = demo.lines.find(({ type }) => type === 'users')!
      assert.ok(users.sent! >= 200, `the users sent ${users.sent} requests`)
      assert.equal(users.failed, 0)
      await demo.leavesNothing()
      assert.ok(seconds < 60, `it took ${seconds.toFixed(1)} s`)
      context.diagnostic(
        `${seconds.toFixed(1)} s with the installation of the packages; ${traffic.seen} requests seen, ${traffic.stalled} stalled`,
      )
    },
  )

  test(
    'for a user who is not root, with the built-in balancer, from a clone of their own',
    { skip: isClone ? false : 'the sources are in no git repository' },
    async (context) => {
      const place = mkdtempSync(join(tmpdir(), 'dploy-user-test-'))
      context.after(() => rmSync(place, { recursive: true, force: true }))
      const clone = join(place, 'dploy')
      execFileSync('git', ['clone', '--quiet', top, clone])
      // Hard links where that is possible: nothing is written to the packages.
      if (spawnSync('cp', ['-al', join(top, 'node_modules'), clone]).status !== 0)
        execFileSync('cp', ['-a', join(top, 'node_modules'), clone])
      const directory = join(place, 'tmp')
      mkdirSync(directory)
      const root = process.getuid?.() === 0
      if (root) {
        chmodSync(place, 0o755)
        for (const name of readdirSync(clone))
          if (name !== 'node_modules') execFileSync('chown', ['-R', '65534:65534', join(clone, name)])
        execFileSync('chown', ['65534:65534', clone, directory])
      }
      const program = [
        ...(root ? ['setpriv', '--reuid=65534', '--regid=65534', '--clear-groups', 'env', `HOME=${directory}`] : []),
        join(clone, 'bin/dploy'),
      ]
      await using demo = startDemo('--once', '--servers', '2', '--balancer', 'builtin', { program, directory })
      assert.deepEqual(await demo.ended(), { code: 0, signal: null }, demo.stderr)
      const results = demo.lines.filter(({ type }) => type === 'result')
      assert.deepEqual(
        results.map(({ state }) => state),
        ['succeeded', 'succeeded'],
      )
      assert.deepEqual(
        results[1]!.receipt!.servers.map(({ outcome }) => outcome),
        ['switched', 'switched'],
      )
      assert.equal(demo.lines.find(({ type }) => type === 'users')!.failed, 0)
      await demo.leavesNoProcess()
    },
  )

  test("somebody's repository: the commit before the newest, then the newest; where the former does not run, the newest twice", async (context) => {
    const repository = mkdtempSync(join(tmpdir(), 'dploy-demo-repository-'))
    context.after(() => rmSync(repository, { recursive: true, force: true }))
    const git = (...args: string[]) =>
      execFileSync('git', ['-C', repository, '-c', 'user.name=Anna', '-c', 'user.email=anna@example.org', ...args], {
        encoding: 'utf8',
      }).trim()
    const commit = (files: Record<string, string>) => {
      for (const [name, text] of Object.entries(files)) writeFileSync(join(repository, name), text)
      git('add', '--all')
      git('commit', '--quiet', '--message', 'More')
      return git('rev-parse', 'HEAD')
    }
    git('init', '--quiet', '--initial-branch=main')
    const config = `application: own\nservice: { command: "${process.execPath} server.mjs", port: 3000, health: { path: /, timeout: 20s } }\nenvironments: { production: { servers: [web1], strategy: { bake: 0s } } }\n`
    commit({ 'dploy.yml': config })
    commit({
      'server.mjs':
        "import { createServer } from 'node:http'\ncreateServer((_, answer) => answer.end('one')).listen(process.env.PORT)\n",
    })
    const revisions = async () => {
      await using demo = startDemo('--once', '--servers', '2', '--repository', repository)
      assert.equal((await demo.ended()).code, 0, demo.stderr)
      const results = demo.lines.filter(({ type }) => type === 'result')
      assert.deepEqual(
        results.map(({ state }) => state),
        ['succeeded', 'succeeded'],
      )
      return results.map(({ receipt }) => receipt!.servers.map(({ objects }) => objects > 0))
    }
    assert.deepEqual(
      await revisions(),
      [
        [true, true],
        [false, false],
      ],
      'the newest is sent once, and nothing the second time',
    )
    commit({
      'server.mjs':
        "import { createServer } from 'node:http'\ncreateServer((_, answer) => answer.end('two')).listen(process.env.PORT)\n",
    })
    assert.deepEqual(await revisions(), [
      [true, true],
      [true, true],
    ])
  })

  test('keeps running until Ctrl-C, and then leaves nothing', async () => {
    await using demo = startDemo('--servers', '2')
    const { application } = await demo.until(({ type }) => type === 'running')
    assert.equal((await fetch(application!)).status, 200)
    demo.interrupt()
    assert.equal((await demo.ended()).code, 0)
    await assert.rejects(connected(Number(new URL(application!).port)), { code: 'ECONNREFUSED' })
    await demo.leavesNothing()
  })

  for (const state of ['staging', 'activating', 'baking']) {
    test(`Ctrl-C while the first deployment is ${state} leaves nothing`, async () => {
      await using demo = startDemo('--servers', '2')
      await demo.until(({ data }) => data?.kind === 'state' && data.state === state)
      demo.interrupt()
      assert.equal((await demo.ended()).code, 130)
      await demo.leavesNothing()
    })
  }

  test('killed, it leaves no process, and the next one removes its files', async () => {
    await using demo = startDemo('--servers', '2')
    await demo.until(({ type }) => type === 'running')
    demo.kill()
    await demo.ended()
    await demo.leavesNoProcess()
    assert.equal(readdirSync(demo.directory).length, 1)
    await using next = startDemo('--servers', '2', '--once', { directory: demo.directory })
    assert.equal((await next.ended()).code, 0)
    assert.deepEqual(readdirSync(demo.directory), [])
  })

  test('what is wrong is said before anything is started', async () => {
    for (const [args, message] of [
      [['--servers', '0'], /"0" is not a number of servers from 1 to 100/],
      [['--repository', '/nowhere'], /\/nowhere is not a git repository with a commit/],
    ] as const) {
      await using demo = startDemo(...args)
      assert.equal((await demo.ended()).code, 1)
      assert.match(demo.stderr, message)
      await demo.leavesNothing()
    }
  })
})

interface DemoOptions {
  /** Where its temporary directory is to be. */
  directory?: string
  /** The command line in front of "demo"; left out: the sources of this checkout. */
  program?: readonly string[]
}

/** A demo with a temporary directory of its own, by which everything that it started is known. */
class Demo implements AsyncDisposable {
  readonly directory: string
  readonly lines: Line[] = []
  stderr = ''
  readonly #ownsDirectory: boolean
  readonly #process: ChildProcess
  readonly #ended: Promise<{ code: number | null; signal: string | null }>
  readonly #waiting = new Set<() => void>()

  constructor(args: string[], options: DemoOptions) {
    this.#ownsDirectory = options.directory === undefined
    this.directory = options.directory ?? mkdtempSync(join(tmpdir(), 'dploy-demo-test-'))
    const [file, ...before] = options.program ?? program
    const { NODE_COMPILE_CACHE: _, ...env } = process.env
    this.#process = spawn(file!, [...before, 'demo', '--json', ...args], {
      stdio: ['ignore', 'pipe', 'pipe'],
      env: { ...env, TMPDIR: this.directory },
      detached: true,
    })
    this.#process.stderr!.on('data', (chunk: Buffer) => (this.stderr += chunk.toString()))
    createInterface({ input: this.#process.stdout! }).on('line', (line) => {
      this.lines.push(JSON.parse(line) as Line)
      for (const look of this.#waiting) look()
    })
    this.#ended = once(this.#process, 'close').then(([code, signal]) => ({
      code: code as number | null,
      signal: signal as string | null,
    }))
  }

  ended(): Promise<{ code: number | null; signal: string | null }> {
    return this.#ended
  }

  /** The first line of its output that is meant. Rejects when it ends before. */
  until(isMeant: (line: Line) => boolean): Promise<Line> {
    const found = new Promise<Line>((resolve) => {
      const look = () => {
        const line = this.lines.find(isMeant)
        if (!line) return
        this.#waiting.delete(look)
        resolve(line)
      }
      this.#waiting.add(look)
      look()
    })
    return Promise.race([
      found,
      this.#ended.then(({ code }) =>
        Promise.reject(new Error(`dploy demo ended with code ${code} before: ${this.stderr}`)),
      ),
    ])
  }

  /** What a terminal does at Ctrl-C: the signal goes to its whole process group. */
  interrupt(): void {
    process.kill(-this.#process.pid!, 'SIGINT')
  }

  kill(): void {
    this.#process.kill('SIGKILL')
  }

  async leavesNothing(): Promise<void> {
    await this.leavesNoProcess()
    assert.deepEqual(readdirSync(this.directory), [])
  }

  async leavesNoProcess(): Promise<void> {
    for (const end = performance.now() + 20_000; performance.now() < end; await delay(50))
      if (processesOf(this.directory).length === 0) return
    assert.deepEqual(processesOf(this.directory), [])
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#process.exitCode === null && this.#process.signalCode === null) this.#process.kill('SIGTERM')
    await this.#ended
    for (const pid of processesOf(this.directory)) process.kill(pid, 'SIGKILL')
    if (this.#ownsDirectory) rmSync(this.directory, { recursive: true, force: true })
  }
}

function startDemo(...args: (string | DemoOptions)[]): Demo {
  const last = args.at(-1)
  return new Demo(
    args.filter((arg) => typeof arg === 'string'),
    typeof last === 'object' ? last : {},
  )
}

/** Ids of the processes that have something to do with a directory: by their arguments, environment or working directory. */
function processesOf(directory: string): number[] {
  return readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name) && Number(name) !== process.pid)
    .filter((name) => {
      try {
        return (
          readlinkSync(`/proc/${name}/cwd`).startsWith(directory) ||
          ['cmdline', 'environ'].some((file) => readFileSync(`/proc/${name}/${file}`, 'utf8').includes(directory))
        )
      } catch {
        return false
      }
    })
    .filter((name) => existsSync(`/proc/${name}`))
    .map(Number)
}

async function connected(port: number): Promise<void> {
  const socket = createConnection(port, '127.0.0.1')
  try {
    await once(socket, 'connect')
  } finally {
    socket.destroy()
  }
}
