import { existsSync, mkdirSync, writeFileSync } from 'node:fs'
import { connect as connectSocket } from 'node:net'
import { join } from 'node:path'
import { DployError } from '../protocol/errors.ts'
import type { Client } from '../client/client.ts'
import type { SshServer } from '../ssh/ssh.ts'
import { onQuestion } from './view/question.ts'
import { showProgress } from './view/ssh-progress.ts'

export interface Connection extends AsyncDisposable {
  client: Client
  /** Whether the control plane runs in this very process. */
  embedded: boolean
}

export interface ConnectOptions {
  /** URL of a control plane; by default DPLOY_URL. */
  server: string | undefined
  /** Where dploy.yml stands; the control plane of this repository has its data in `.dploy` there. */
  base: string
  /** What else than ~/.ssh/config ssh is to read; by default DPLOY_SSH_CONFIG. */
  sshConfig?: string | undefined
  /** An environment whose servers will be needed at once. */
  ahead?: { application: string; environment: string; servers: readonly SshServer[] } | undefined
}

/**
 * A client to the control plane: the one that was named, the one that serves this repository now, or one of our own in
 * this process, over the same data.
 */
export async function connect(options: ConnectOptions): Promise<Connection> {
  const url = options.server ?? process.env.DPLOY_URL
  if (url?.startsWith('unix:')) {
    const path = url.slice('unix:'.length)
    if (!(await answers(path)))
      throw new DployError('connection.closed', `No control plane answers at ${path}`, {
        where: path,
        fix: 'Check that dploy serve runs there, and that you are its user',
      })
    return (await import('./socket-client.ts')).overSocket(path)
  }
  if (url !== undefined && url !== '') {
    const { Client } = await import('../client/client.ts')
    const client = new Client({ url, token: process.env.DPLOY_TOKEN, fetch })
    return { client, embedded: false, async [Symbol.asyncDispose]() {} }
  }
  const data = dataDirectory(options.base)
  const socket = join(data, 'control.sock')
  if (await answers(socket)) return (await import('./socket-client.ts')).overSocket(socket)
  const { Ssh } = await import('../ssh/ssh.ts')
  const ssh = new Ssh({
    configFile: options.sshConfig ?? process.env.DPLOY_SSH_CONFIG ?? null,
    runtimeAddress: process.env.DPLOY_RUNTIME_URL,
    interactive: process.stdin.isTTY && process.stderr.isTTY,
    wait: waitOfAgents(process.env.DPLOY_SSH_WAIT),
    onProgress: showProgress(),
    onQuestion,
  })
  // What is loaded from here on keeps this process busy, while the servers start their agents.
  await ssh.ahead(options.ahead?.servers ?? [])
  const [{ startEmbedded }, { overSocket }] = await Promise.all([import('./embed.ts'), import('./socket-client.ts')])
  const plane = await startEmbedded(data, { ssh, expected: options.ahead })
  const connection = overSocket(plane.socket)
  const interrupt = endOnInterrupt(async () => plane[Symbol.asyncDispose]())
  return {
    client: connection.client,
    embedded: true,
    async [Symbol.asyncDispose]() {
      interrupt[Symbol.dispose]()
      await connection[Symbol.asyncDispose]()
      await plane[Symbol.asyncDispose]()
    },
  }
}

/** How long agents wait for the next command. Seconds; undefined where nobody said. Throws `request.invalid`. */
function waitOfAgents(text: string | undefined): number | undefined {
  if (text === undefined || text === '') return undefined
  const seconds = Number(text)
  if (!Number.isInteger(seconds) || seconds < 0 || seconds > 600)
    throw new DployError('request.invalid', `DPLOY_SSH_WAIT is ${JSON.stringify(text)}, not seconds from 0 to 600`, {
      fix: 'Leave it out, or set it to 0, so that agents end with the command',
    })
  return seconds
}

/** Ends this process in order at Ctrl-C, unless the command listens for it itself. */
function endOnInterrupt(dispose: () => Promise<void>): Disposable {
  const end = (signal: NodeJS.Signals) => {
    if (process.listenerCount(signal) > 1) return
    void dispose().finally(() => process.exit(signal === 'SIGINT' ? 130 : 143))
  }
  process.on('SIGINT', end).on('SIGTERM', end)
  return { [Symbol.dispose]: () => void process.off('SIGINT', end).off('SIGTERM', end) }
}

/** `.dploy` beside dploy.yml; git ignores it by itself. */
export function dataDirectory(base: string): string {
  const data = join(base, '.dploy')
  mkdirSync(data, { recursive: true, mode: 0o700 })
  const ignore = join(data, '.gitignore')
  if (!existsSync(ignore)) writeFileSync(ignore, '*\n')
  return data
}

function answers(socket: string): Promise<boolean> {
  return new Promise((resolve) => {
    if (!existsSync(socket)) return resolve(false)
    const probe = connectSocket(socket)
    probe.once('connect', () => (probe.destroy(), resolve(true)))
    probe.once('error', () => resolve(false))
  })
}
