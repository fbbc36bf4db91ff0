import { createHash, randomUUID } from 'node:crypto'
import { constants, closeSync, fsyncSync, openSync, renameSync, rmSync, statSync } from 'node:fs'
import { open } from 'node:fs/promises'
import { basename, dirname, join, resolve } from 'node:path'
import { DployError } from '../../protocol/errors.ts'
import type { Arrivals } from './arrivals.ts'
import type { Session } from './session.ts'

/** How much is read at a time. Bytes. */
const piece = 64 * 1024
/** After so many bytes the disk is waited for, so that who sends them sees its pace, and the end does not wait for all of them. */
const flushedAfter = 32 * 1024 * 1024

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
  arrivals: Arrivals
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
  using _note = writing(path, () => options.arrivals.note(temporary))
  // What comes before the file is open waits for it, as every piece waits for the one before.
  const opened = written(path, () => open(temporary, 'wx', 0o600))
  opened.catch(() => {})
  try {
    const hash = createHash('sha256')
    const whole = Promise.withResolvers<void>()
    whole.promise.catch(() => {})
    let bytes = 0
    let unflushed = 0
    let last: Promise<unknown> = opened
    const abort = () => whole.reject(signal.reason)
    signal.addEventListener('abort', abort, { once: true })
    session.onInput = (chunk) => {
      const at = bytes
      bytes += chunk.length
      if (bytes > options.size) {
        whole.reject(changed(path))
        return Promise.reject(changed(path))
      }
      hash.update(chunk)
      const writing = last.then(async () => {
        signal.throwIfAborted()
        const file = await opened
        await written(path, async () => {
          for (let done = 0; done < chunk.length;)
            done += (await file.write(chunk, done, chunk.length - done, at + done)).bytesWritten
          unflushed += chunk.length
          if (unflushed < flushedAfter) return
          unflushed = 0
          await file.datasync()
        })
      })
      last = writing
      writing.catch((error: unknown) => whole.reject(error))
      return writing
    }
    session.onEnd = () => void last.then(() => whole.resolve(), whole.reject)
    opened.catch((error: unknown) => whole.reject(error))
    await whole.promise.finally(() => signal.removeEventListener('abort', abort))
    if (bytes !== options.size || hash.digest('hex') !== digest) throw changed(path)
    const file = await opened
    await written(path, async () => {
      await file.chmod(options.mode)
      await file.sync()
      renameSync(temporary, path)
      syncDirectory(dirname(path))
    })
    return { path }
  } catch (error) {
    // It may be about to be opened.
    await opened.catch(() => {})
    rmSync(temporary, { force: true })
    throw error
  } finally {
    await opened.then((file) => file.close()).catch(() => {})
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
  // Without O_NONBLOCK a named pipe is waited for until somebody writes to it.
  const file = await read(path, () => open(path, constants.O_RDONLY | constants.O_NONBLOCK))
  try {
    const stat = await read(path, () => file.stat())
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
      const { bytesRead: length } = await read(path, () => file.read(buffer, 0, piece, size))
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
    await file.close()
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
    throw unwritten(path, error)
  }
}

async function written<T>(path: string, work: () => Promise<T>): Promise<T> {
  return work().catch((error: unknown) => Promise.reject(unwritten(path, error)))
}

function unwritten(path: string, error: unknown): DployError {
  const { code, message } = error as NodeJS.ErrnoException
  if (code === 'ENOSPC' || code === 'EDQUOT')
    return new DployError('server.disk_full', `There is no room for ${path}`, { cause: error })
  return new DployError('file.unwritable', `${path} cannot be written: ${message}`, { cause: error })
}

async function read<T>(path: string, work: () => Promise<T>): Promise<T> {
  return work().catch((error: unknown) =>
    Promise.reject(
      new DployError('file.unreadable', `${path} cannot be read: ${(error as Error).message}`, { cause: error }),
    ),
  )
}

function syncDirectory(path: string): void {
  const file = openSync(path, 'r')
  try {
    fsyncSync(file)
  } finally {
    closeSync(file)
  }
}
