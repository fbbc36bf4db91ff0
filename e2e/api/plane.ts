import { spawn, type ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { closeSync, mkdtempSync, openSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'
import type { Connection } from '../../src/cli/connect.ts'
import { overSocket } from '../../src/cli/socket-client.ts'
import { Client } from '../../src/client/client.ts'
import { freePorts } from '../world.ts'

const top = fileURLToPath(new URL('../..', import.meta.url))

/** A `dploy serve` without servers, in a directory of its own. Needs no root and no network. */
export class Plane implements AsyncDisposable {
  readonly directory: string
  readonly url: string
  /** What it said when it began to serve. */
  said: { url: string; setup?: string } = { url: '' }
  readonly #connection: Connection
  readonly #args: readonly string[]
  #process: ChildProcess | null = null

  private constructor(directory: string, port: number, args: readonly string[]) {
    this.#args = args
    this.directory = directory
    this.url = `http://127.0.0.1:${port}`
    this.#connection = overSocket(join(directory, 'control.sock'))
  }

  /** `args` of `dploy serve` beyond where it listens and keeps its data. */
  static async up(...args: string[]): Promise<Plane> {
    const [port] = await freePorts(1)
    const plane = new Plane(mkdtempSync(join(tmpdir(), 'dploy-plane-')), port!, args)
    try {
      await plane.start()
      return plane
    } catch (error) {
      await plane[Symbol.asyncDispose]()
      throw error
    }
  }

  async start(): Promise<void> {
    const log = openSync(join(this.directory, 'log'), 'a')
    // Tethered, so that nothing is left when the tests are killed.
    const args = [
      join(top, 'src/cli/demo/tether.ts'),
      process.execPath,
      join(top, 'src/cli/main.ts'),
      'serve',
      '--listen',
      new URL(this.url).host,
      '--data',
      this.directory,
      '--json',
      ...this.#args,
    ]
    const child = spawn(process.execPath, args, {
      cwd: this.directory,
      stdio: ['pipe', 'pipe', log],
      detached: true,
      env: { ...process.env, DPLOY_URL: '' },
    })
    closeSync(log)
    this.#process = child
    const [line] = (await Promise.race([
      once(createInterface({ input: child.stdout! }), 'line'),
      once(child, 'exit').then(() =>
        Promise.reject(new Error(`dploy serve ended:\n${readFileSync(join(this.directory, 'log'), 'utf8')}`)),
      ),
    ])) as [string]
    this.said = JSON.parse(line) as { url: string; setup?: string }
  }

  /** kill -9. */
  async kill(): Promise<void> {
    const { pid } = this.#process!
    const exit = once(this.#process!, 'exit')
    process.kill(Number(readFileSync(`/proc/${pid}/task/${pid}/children`, 'utf8').trim()), 'SIGKILL')
    await exit
  }

  async stop(): Promise<void> {
    const child = this.#process
    if (!child || child.exitCode !== null || child.signalCode !== null) return
    const exit = once(child, 'exit')
    child.stdin!.end()
    const timer = setTimeout(() => child.kill('SIGKILL'), 8_000)
    await exit
    clearTimeout(timer)
  }

  /** As this machine's user, over the unix socket. */
  get client(): Client {
    return this.#connection.client
  }

  /** As the owner of a token. */
  as(token: string): Client {
    return new Client({ url: this.url, token, fetch })
  }

  /** Asks as a browser does on a page of dploy; `cookie` as an answer set it. */
  async ask(
    method: string,
    path: string,
    options: {
      body?: unknown
      cookie?: string | undefined
      token?: string | undefined
      headers?: Record<string, string>
    } = {},
  ): Promise<Answer> {
    const headers = {
      ...(options.body === undefined ? {} : { 'content-type': 'application/json' }),
      ...(options.cookie === undefined ? {} : { cookie: options.cookie, origin: this.url }),
      ...(options.token === undefined ? {} : { authorization: `Bearer ${options.token}` }),
      ...options.headers,
    }
    const response = await fetch(new URL(path, this.url), {
      method,
      headers,
      ...(options.body === undefined ? {} : { body: JSON.stringify(options.body) }),
      redirect: 'manual',
    })
    const text = await response.text()
    const [set] = response.headers.getSetCookie()
    return {
      status: response.status,
      headers: response.headers,
      text,
      cookie: set?.split(';')[0],
      set,
      json: parsed(text),
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.stop()
    await this.#connection[Symbol.asyncDispose]()
    rmSync(this.directory, { recursive: true, force: true, maxRetries: 5 })
  }
}

export interface Answer {
  status: number
  headers: Headers
  text: string
  /** `name=value` of the cookie that it set. */
  cookie: string | undefined
  /** The whole header. */
  set: string | undefined
  // eslint-disable-next-line @typescript-eslint/no-explicit-any -- tests look into answers of every kind
  json: any
}

function parsed(text: string): unknown {
  try {
    return JSON.parse(text) as unknown
  } catch {
    return null
  }
}
