import { createHash, randomBytes } from 'node:crypto'
import { createReadStream, createWriteStream, existsSync, mkdirSync, renameSync, rmSync, statSync } from 'node:fs'
import { homedir } from 'node:os'
import { dirname, join } from 'node:path'
import { Readable, Transform, Writable } from 'node:stream'
import { pipeline } from 'node:stream/promises'
import { fileURLToPath } from 'node:url'
import { createGunzip, createGzip } from 'node:zlib'
import { DployError } from '../protocol/errors.ts'
import { MadeOnce } from './made-once.ts'
import { TarMember } from './tar-member.ts'

export type Architecture = 'x64' | 'arm64'

/** The oldest major version of Node that the agent runs on. */
export const minimumMajor = 24
/** The glibc that the pinned Node is built for (BUILDING.md of Node: "glibc >= 2.28"). */
export const minimumLibc = [2, 28] as const
const version = '24.21.0'

/** Node for a server that has none that is new enough, by the SHA-256 of its program: however it comes, it is checked against this. */
export const runtimes: Record<Architecture, { sha256: string }> = {
  x64: { sha256: '7fde7b8afa198da66257f42ee2001d874c7355631e6d1579a5fb5ef1f246df4c' },
  arm64: { sha256: '0f8949d1028f6d61506b2d5bc57e7e6fe893d7b1997509b7847294fc9c616584' },
}

/** Where archives of Node are by default; `{version}` and `{arch}` are put in. They hold it as `…/bin/node`. */
export const runtimeAddress = 'https://nodejs.org/dist/v{version}/node-v{version}-linux-{arch}.tar.gz'

/** The address of an architecture's archive; null if servers are not to download. */
export function addressOf(template: string, arch: Architecture): string | null {
  return template === '' || template === 'none'
    ? null
    : template.replaceAll('{version}', version).replaceAll('{arch}', arch)
}

/**
 * A gzip file of the runtime on this machine, to send to a server: made once and kept in the person's cache. Taken from
 * dploy's own packages where they have it for this architecture, else downloaded. Throws `server.no_runtime`.
 */
export async function compressedRuntime(
  arch: Architecture,
  options: { template: string; signal: AbortSignal },
): Promise<{ path: string; bytes: number }> {
  const { sha256 } = runtimes[arch]
  const directory = join(process.env.XDG_CACHE_HOME || join(homedir(), '.cache'), 'dploy')
  const path = join(directory, `node-${sha256.slice(0, 32)}.gz`)
  // Several servers may need it at the same time.
  if (!existsSync(path)) await making.of(path, options.signal, (signal) => make(arch, path, { ...options, signal }))
  return { path, bytes: statSync(path).size }
}

const making = new MadeOnce<void>()

async function make(
  arch: Architecture,
  path: string,
  options: { template: string; signal: AbortSignal },
): Promise<void> {
  mkdirSync(dirname(path), { recursive: true, mode: 0o700 })
  const installed = fileURLToPath(new URL(`../../node_modules/node-linux-${arch}/bin/node`, import.meta.url))
  const found = [installed, process.execPath].find((file) => existsSync(file) && statSync(file).isFile())
  // Another process may make it at the same time, also one of this id in another container over the same cache.
  const part = `${path}.${process.pid}-${randomBytes(4).toString('hex')}`
  try {
    const here =
      found !== undefined && (await compress(createReadStream(found), part, options.signal)) === runtimes[arch].sha256
    if (!here) await download(arch, part, options)
    renameSync(part, path)
  } finally {
    rmSync(part, { force: true })
  }
}

async function download(
  arch: Architecture,
  part: string,
  options: { template: string; signal: AbortSignal },
): Promise<void> {
  const address = addressOf(options.template, arch)
  const fix = 'Install Node 24 on the server, or set DPLOY_RUNTIME_URL to an address of it'
  if (address === null)
    throw new DployError(
      'server.no_runtime',
      `There is no Node for ${arch} on this machine, and none may be downloaded`,
      { fix },
    )
  let digest: string
  try {
    const response = await fetch(address, { signal: AbortSignal.any([options.signal, AbortSignal.timeout(300_000)]) })
    if (!response.ok || !response.body) throw new Error(`it answered ${response.status}`)
    digest = await compress(
      Readable.from(response.body as AsyncIterable<Uint8Array>)
        .pipe(createGunzip())
        .pipe(new TarMember('bin/node')),
      part,
      options.signal,
    )
  } catch (cause) {
    options.signal.throwIfAborted()
    throw new DployError(
      'server.no_runtime',
      `Node for ${arch} cannot be downloaded from ${address}: ${(cause as Error).message}`,
      { fix, cause },
    )
  }
  if (digest !== runtimes[arch].sha256)
    throw new DployError(
      'server.no_runtime',
      `What ${address} holds is not the Node that dploy knows (SHA-256 ${digest})`,
      { fix },
    )
}

/** Writes a stream as gzip; answers the SHA-256 of what was in it. */
async function compress(content: Readable, path: string, signal: AbortSignal): Promise<string> {
  const hash = createHash('sha256')
  const tap = new Transform({ transform: (chunk: Buffer, _encoding, done) => (hash.update(chunk), done(null, chunk)) })
  await pipeline(content, tap, createGzip({ level: 6 }), createWriteStream(path, { mode: 0o600 }), { signal })
  return hash.digest('hex')
}

/** Sends a file into a stream that stays open; `onBytes` is told how many were sent so far. */
export async function sendFile(
  path: string,
  to: Writable,
  options: { signal: AbortSignal; onBytes: (sent: number) => void },
): Promise<void> {
  let sent = 0
  for await (const chunk of createReadStream(path, {
    highWaterMark: 256 * 1024,
    signal: options.signal,
  }) as AsyncIterable<Buffer>) {
    if (!to.write(chunk)) await drained(to, options.signal)
    options.onBytes((sent += chunk.length))
  }
}

function drained(stream: Writable, signal: AbortSignal): Promise<void> {
  return new Promise((resolve, reject) => {
    const done = (error?: unknown) => {
      stream.off('drain', done).off('close', closed).off('error', done)
      signal.removeEventListener('abort', aborted)
      if (error === undefined) resolve()
      else reject(error)
    }
    const closed = () => done(new DployError('connection.closed', 'The connection ended'))
    const aborted = () => done(signal.reason)
    stream.once('drain', done).once('close', closed).once('error', done)
    signal.addEventListener('abort', aborted, { once: true })
  })
}
