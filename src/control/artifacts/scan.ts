import { closeSync, lstatSync, openSync, readdirSync, readFileSync, readlinkSync, readSync, renameSync, writeFileSync } from 'node:fs'
import { join, relative, resolve, sep } from 'node:path'
import { DployError } from '../../protocol/errors.ts'
import { checkPath, type Digest, type Entry } from '../../protocol/manifest.ts'
import { ObjectStore } from './object-store.ts'
import { selection } from './selection.ts'

export interface ScanOptions {
  directory: string
  ship: string[] | undefined
  leaveOut: string[]
  /** Directory of the object store. */
  store: string
  /** File in which digests are remembered by size, times and inode, so that an unchanged file is not read again. */
  cache: string | null
}

/** `ino:size:mtime:ctime` and the digest that the file had then. */
type Remembered = Record<string, [seen: string, digest: Digest]>

/** How much of a file is read at once. Bytes. */
const chunkBytes = 1024 * 1024

/**
 * Brings the files of a directory into the object store and answers what a manifest says of them. Synchronous: runs in a
 * worker (measured: several times faster than promises). Throws `source.unsafe` for what cannot be shipped.
 */
export function scanDirectory(options: ScanOptions): { entries: Entry[]; read: number } {
  const store = new ObjectStore(options.store)
  const shipped = selection(options.ship, options.leaveOut)
  const before = options.cache === null ? {} : readCache(options.cache)
  const after: Remembered = {}
  const entries: Entry[] = []
  const buffer = Buffer.allocUnsafe(chunkBytes)
  let read = 0
  const visit = (path: string): boolean => {
    let any = false
    for (const name of namesIn(join(options.directory, path))) {
      const child = path === '' ? name : `${path}/${name}`
      const full = join(options.directory, child)
      const stat = lstatSync(full)
      if (stat.isDirectory()) {
        if (name === '.git') continue
        const inside = visit(child)
        if (!inside && shipped(child)) {
          checkPath(child)
          entries.push({ kind: 'directory', path: child })
        }
        any ||= inside || shipped(child)
        continue
      }
      if (!shipped(child)) continue
      any = true
      checkPath(child)
      if (stat.isSymbolicLink()) entries.push({ kind: 'link', path: child, target: insideTarget(options.directory, child, readlinkSync(full)) })
      else if (stat.isFile()) {
        const seen = `${stat.ino}:${stat.size}:${stat.mtimeMs}:${stat.ctimeMs}`
        const known = before[child]
        let digest = known?.[0] === seen && store.has(known[1], stat.size) ? known[1] : undefined
        if (digest === undefined) {
          digest = storeFile(store, full, buffer, child)
          read++
        }
        after[child] = [seen, digest]
        entries.push({ kind: 'file', path: child, executable: (stat.mode & 0o100) !== 0, size: stat.size, digest })
      } else throw new DployError('source.unsafe', `${JSON.stringify(child)} is no file, folder or link (a socket, pipe or device)`, { where: child, fix: 'Remove it, or name it in build.leave_out' })
    }
    return any
  }
  visit('')
  if (options.cache !== null) {
    writeFileSync(`${options.cache}.${process.pid}`, JSON.stringify(after))
    renameSync(`${options.cache}.${process.pid}`, options.cache)
  }
  return { entries, read }
}

function namesIn(directory: string): string[] {
  return readdirSync(directory, { encoding: 'buffer' })
    .map((bytes) => {
      const name = bytes.toString('utf8')
      if (!Buffer.from(name, 'utf8').equals(bytes)) throw new DployError('source.unsafe', `The file name ${JSON.stringify(bytes.toString('latin1'))} is not valid UTF-8`, { where: directory })
      return name
    })
    .sort()
}

function storeFile(store: ObjectStore, path: string, buffer: Buffer, name: string): Digest {
  let file: number
  try {
    file = openSync(path, 'r')
  } catch (cause) {
    throw new DployError('source.unsafe', `${JSON.stringify(name)} cannot be read: ${(cause as Error).message}`, { where: name, cause })
  }
  const into = store.begin()
  try {
    for (let length; (length = readSync(file, buffer)) > 0; ) into.write(buffer.subarray(0, length))
    return into.done().digest
  } catch (error) {
    into.abandon()
    throw error
  } finally {
    closeSync(file)
  }
}

/** An absolute link to something inside the directory becomes relative; one that leads out is refused by the manifest. */
function insideTarget(directory: string, path: string, target: string): string {
  if (!target.startsWith('/')) return target
  const inside = relative(resolve(directory), target)
  if (inside.startsWith(`..${sep}`) || inside === '..') return target
  return relative(join(resolve(directory), path, '..'), target) || '.'
}

function readCache(path: string): Remembered {
  try {
    return JSON.parse(readFileSync(path, 'utf8')) as Remembered
  } catch {
    return {}
  }
}
