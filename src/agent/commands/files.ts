import { createHash, randomUUID } from 'node:crypto'
import {
  closeSync,
  fchmodSync,
  fstatSync,
  fsyncSync,
  openSync,
  readSync,
  renameSync,
  rmSync,
  statSync,
  writeSync,
} from 'node:fs'
import { basename, dirname, join, resolve } from 'node:path'
import { DployError } from '../../protocol/errors.ts'
import type { Session } from './session.ts'

/** How much is read at a time. Bytes. */
const piece = 64 * 1024

export interface ReceiveOptions {
  root: string
  path: string
  /** Its name where the path is a directory. */
  name: string
  size: number
  mode: number
  digest: string
  session: Session
  signal: AbortSignal
}

/**
 * Takes a file piece by piece under a name of its own, and gives it its path only when it is whole and what was announced.
 * Throws `file.unwritable`, `file.changed`, `server.disk_full`, or the signal's reason; then nothing is left of it.
 */
export async function receiveFile(options: ReceiveOptions): Promise<{ path: string }> {
  const { session, signal, digest } = options
  signal.throwIfAborted()
  const path = targetOf(options)
  const temporary = join(dirname(path), `.${basename(path).slice(0, 100)}.dploy-${randomUUID()}`)
  const file = writing(path, () => openSync(temporary, 'wx', 0o600))
  try {
    const hash = createHash('sha256')
    const whole = Promise.withResolvers<void>()
    whole.promise.catch(() => {})
    let bytes = 0
    const abort = () => whole.reject(signal.reason)
    signal.addEventListener('abort', abort, { once: true })
    session.onInput = async (chunk) => {
      try {
        writing(path, () => {
          for (let done = 0; done < chunk.length;) done += writeSync(file, chunk, done)
        })
        hash.update(chunk)
        bytes += chunk.length
        if (bytes > options.size) throw changed(path)
      } catch (error) {
        whole.reject(error)
        throw error
      }
    }
    session.onEnd = () => whole.resolve()
    await whole.promise.finally(() => signal.removeEventListener('abort', abort))
    if (bytes !== options.size || hash.digest('hex') !== digest) throw changed(path)
    writing(path, () => {
      fchmodSync(file, options.mode)
      fsyncSync(file)
      renameSync(temporary, path)
      syncDirectory(dirname(path))
    })
    return { path }
  } catch (error) {
    rmSync(temporary, { force: true })
    throw error
  } finally {
    closeSync(file)
  }
}

export interface SendOptions {
  root: string
  path: string
  session: Session
  signal: AbortSignal
  emit(size: number, bytes: Uint8Array): Promise<void>
}

/** Sends a file no faster than its reader takes it. Throws `file.unreadable`, or the signal's reason. */
export async function sendFile(options: SendOptions): Promise<{ size: number; mode: number; digest: string }> {
  const { session, signal, emit } = options
  const path = inside(options.root, options.path)
  const file = reading(path, () => openSync(path, 'r'))
  try {
    const stat = fstatSync(file)
    if (!stat.isFile())
      throw new DployError(
        'file.unreadable',
        `${path} is ${stat.isDirectory() ? 'a directory' : 'no regular file'}`,
        stat.isDirectory() ? { fix: 'Pack it first: dploy exec --on SERVER -- tar czf /tmp/it.tgz DIRECTORY' } : {},
      )
    const hash = createHash('sha256')
    let size = 0
    for (;;) {
      const buffer = Buffer.allocUnsafe(piece)
      const length = reading(path, () => readSync(file, buffer, 0, piece, size))
      if (length === 0) break
      const bytes = buffer.subarray(0, length)
      hash.update(bytes)
      size += length
      await session.take(length, signal)
      signal.throwIfAborted()
      await emit(stat.size, bytes)
    }
    return { size, mode: stat.mode & 0o777, digest: hash.digest('hex') }
  } finally {
    closeSync(file)
  }
}

function targetOf({ root, path, name }: ReceiveOptions): string {
  const target = inside(root, path)
  const stat = statSync(target, { throwIfNoEntry: false })
  if (stat?.isDirectory()) {
    const within = join(target, name)
    if (statSync(within, { throwIfNoEntry: false })?.isDirectory())
      throw new DployError('file.unwritable', `${within} is a directory`)
    return within
  }
  if (path.endsWith('/')) throw new DployError('file.unwritable', `There is no directory ${path}`)
  if (stat && !stat.isFile()) throw new DployError('file.unwritable', `${target} is no regular file`)
  return target
}

/** A path as people on the server mean it: below the agent's root, which is `/` but in a demo. */
function inside(root: string, path: string): string {
  if (path.split('/').includes('..'))
    throw new DployError('path.unsafe', `The path ${JSON.stringify(path)} leads upwards`)
  return resolve(root, `.${path}`)
}

function changed(path: string): DployError {
  return new DployError('file.changed', `What came for ${path} is not what was announced; nothing was written there`)
}

function writing<T>(path: string, work: () => T): T {
  try {
    return work()
  } catch (error) {
    const { code, message } = error as NodeJS.ErrnoException
    if (code === 'ENOSPC' || code === 'EDQUOT')
      throw new DployError('server.disk_full', `There is no room for ${path}`, { cause: error })
    throw new DployError('file.unwritable', `${path} cannot be written: ${message}`, { cause: error })
  }
}

function reading<T>(path: string, work: () => T): T {
  try {
    return work()
  } catch (error) {
    throw new DployError('file.unreadable', `${path} cannot be read: ${(error as Error).message}`, { cause: error })
  }
}

function syncDirectory(path: string): void {
  const file = openSync(path, 'r')
  try {
    fsyncSync(file)
  } finally {
    closeSync(file)
  }
}
