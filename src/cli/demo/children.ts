import { spawn, type ChildProcess } from 'node:child_process'
import { createWriteStream } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { DployError } from '../../protocol/errors.ts'

/** How long a child has to end by itself before it is killed. Milliseconds. */
const grace = 8_000

/** The programs that a demo started; they end with it, however it ends. */
export class Children implements AsyncDisposable {
  readonly #children: { name: string; process: ChildProcess }[] = []

  /** Starts an own program of dploy, which watches its standard input and ends when that closes. Its output goes to `log`. */
  start(
    name: string,
    options: { module: string | URL; args: string[]; env?: NodeJS.ProcessEnv; log: string },
  ): ChildProcess {
    const entry = typeof options.module === 'string' ? options.module : fileURLToPath(options.module)
    // An own process group: Ctrl-C in the terminal reaches the demo alone, which ends its children in order.
    const child = spawn(process.execPath, [entry, ...options.args], {
      stdio: ['pipe', 'pipe', 'pipe'],
      env: { ...process.env, ...options.env },
      detached: true,
    })
    const log = createWriteStream(options.log, { flags: 'a' })
    child.stdout.pipe(log, { end: false })
    child.stderr.pipe(log, { end: false })
    child.stdin.on('error', () => {})
    child.on('error', () => {})
    this.#children.push({ name, process: child })
    return child
  }

  /** Rejects when the child ends before `ready` resolves. */
  async untilReady(child: ChildProcess, name: string, log: string, ready: Promise<unknown>): Promise<void> {
    const { promise, reject } = Promise.withResolvers<never>()
    const ended = (code: number | null) =>
      reject(
        new DployError('internal', `${name} ended with code ${code} before it was ready`, {
          where: log,
          fix: `Read ${log}`,
        }),
      )
    child.once('exit', ended)
    try {
      await Promise.race([ready, promise])
    } finally {
      child.off('exit', ended)
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await Promise.all(
      this.#children.reverse().map(async ({ process: child }) => {
        if (child.exitCode !== null || child.signalCode !== null || child.pid === undefined) return
        const exit = new Promise<void>((resolve) => child.once('exit', () => resolve()))
        child.stdin?.end()
        const timer = setTimeout(() => child.kill('SIGKILL'), grace)
        await exit
        clearTimeout(timer)
      }),
    )
  }
}
