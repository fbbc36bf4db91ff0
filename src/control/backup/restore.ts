import { createHash } from 'node:crypto'
import {
  closeSync,
  createReadStream,
  existsSync,
  fsyncSync,
  mkdirSync,
  openSync,
  readdirSync,
  renameSync,
  rmSync,
  writeSync,
} from 'node:fs'
import { basename, dirname, join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import { Readable } from 'node:stream'
import { createZstdDecompress } from 'node:zlib'
import * as z from 'zod'
import { DployError } from '../../protocol/errors.ts'
import { makeDataDirectory } from '../data-directory.ts'
import { lockData } from '../data-lock.ts'
import { keyFiles, mark } from './backup.ts'
import { unseal } from './sealed-stream.ts'

const headSchema = z.object({
  format: z.literal(1),
  createdAt: z.number(),
  artifacts: z.boolean(),
  sealing: z
    .object({
      kind: z.literal('scrypt-aes-256-gcm'),
      salt: z.string().max(100),
      // Not so much that reading a file costs all memory.
      N: z
        .number()
        .int()
        .max(2 ** 20),
      r: z.number().int().max(16),
      p: z.number().int().max(16),
    })
    .nullable(),
})
/** The places of a data directory that a backup may name. */
const place = z
  .string()
  .regex(/^(dploy\.db|control-key\.pem|secret-key|manifests\/[0-9a-f]{64}|objects\/[0-9a-f]{2}\/[0-9a-f]{64})$/)
const recordSchema = z.union([
  z.object({ path: place, size: z.number().int().min(0) }),
  z.object({ files: z.number().int(), sha256: z.string() }),
])
const longestLine = 4_096
/** What stands in a data directory without being anybody's data. */
const incidental = new Set(['.gitignore', 'lost+found', 'serving'])

export interface RestoreOptions {
  data: string
  file: string
  /** Asked where the backup is encrypted. */
  passphrase: () => Promise<string>
  force: boolean
}

export interface Restored {
  createdAt: number
  artifacts: boolean
  files: number
  /** Where what stood there before is now; null: there was nothing. */
  before: string | null
}

/**
 * Makes a data directory of a backup: read and proved whole before anything that stands there is touched. Throws `backup.damaged`,
 * `backup.passphrase`, `restore.not_empty`, `deployment.conflict` where a control plane serves from it.
 */
export async function restore(options: RestoreOptions): Promise<Restored> {
  const { data, file, force } = options
  makeDataDirectory(data)
  using _lock = lockData(data)
  for (const name of readdirSync(data).filter((name) => name.startsWith('restoring-')))
    rmSync(join(data, name), { recursive: true, force: true })
  const working = readdirSync(data).find((name) => lives(Number(/^embedded-(\d+)\.sock$/.exec(name)?.[1] ?? 0)))
  if (working !== undefined)
    throw new DployError('deployment.conflict', `A dploy command works with ${data} (${working})`, {
      where: data,
      fix: 'Wait until it is done, or choose another directory with --data',
    })
  const present = readdirSync(data).filter((name) => !incidental.has(name) && !name.startsWith('before-restore-'))
  if (present.length > 0 && !force)
    throw new DployError('restore.not_empty', `${data} holds ${present.slice(0, 3).join(', ')} already`, {
      where: data,
      fix: 'Name another directory with --data, or add --force: what is there is kept beside',
    })
  const scratch = join(data, `restoring-${process.pid}`)
  mkdirSync(scratch, { mode: 0o700 })
  try {
    const { head, body } = await read(file, options.passphrase)
    const files = await unpack(body, scratch)
    examine(scratch)
    const before = present.length === 0 ? null : join(data, `before-restore-${stampOf(Date.now())}`)
    if (before !== null) {
      mkdirSync(before, { mode: 0o700 })
      for (const name of present) renameSync(join(data, name), join(before, name))
    }
    // The database last: without it there is no data here, and the next restore begins anew.
    const names = readdirSync(scratch).sort((a, b) => Number(a === 'dploy.db') - Number(b === 'dploy.db'))
    for (const name of names) renameSync(join(scratch, name), join(data, name))
    flush(data)
    return { createdAt: head.createdAt, artifacts: head.artifacts, files, before }
  } finally {
    rmSync(scratch, { recursive: true, force: true })
  }
}

async function read(file: string, passphrase: () => Promise<string>) {
  if (!existsSync(file)) throw new DployError('file.unreadable', `There is no file ${file}`)
  const lines = new Lines(createReadStream(file))
  const first = await lines.next()
  const head = first === mark ? headSchema.safeParse(jsonOf(await lines.next())) : null
  if (!head?.success)
    throw new DployError('backup.damaged', `${file} is not a backup that this version of dploy can read`, {
      where: file,
    })
  const { sealing } = head.data
  const packed = sealing === null ? lines.rest() : unseal(lines.rest(), await passphrase(), sealing)
  const unpacked = createZstdDecompress()
  const source = Readable.from(packed)
  source.once('error', (error) => unpacked.destroy(error))
  return { head: head.data, body: new Lines(source.pipe(unpacked)) }
}

/** Answers how many files there were. */
async function unpack(body: Lines, directory: string): Promise<number> {
  const hash = createHash('sha256')
  try {
    for (let files = 0; ; files++) {
      const line = await body.next()
      const record = recordSchema.safeParse(jsonOf(line))
      if (!record.success) throw damaged('it names what no backup has')
      if ('files' in record.data) {
        if (record.data.files !== files || record.data.sha256 !== hash.digest('hex') || !(await body.ended()))
          throw damaged('its content is not what was written')
        return files
      }
      hash.update(`${line}\n`)
      const { path, size } = record.data
      mkdirSync(dirname(join(directory, path)), { recursive: true, mode: 0o700 })
      const file = openSync(join(directory, path), 'wx', 0o600)
      const own = createHash('sha256')
      try {
        for await (const bytes of body.take(size)) {
          for (let at = 0; at < bytes.length;) at += writeSync(file, bytes, at)
          own.update(bytes)
          hash.update(bytes)
        }
        fsyncSync(file)
      } finally {
        closeSync(file)
      }
      const name = basename(path)
      if (path.includes('/') && own.digest('hex') !== name)
        throw damaged(`${path} has another content than its name says`)
    }
  } catch (error) {
    if (error instanceof DployError) throw error
    const { code, message } = error as NodeJS.ErrnoException
    if (code === 'ENOSPC' || code === 'EDQUOT' || code === 'EROFS' || code === 'EACCES')
      throw new DployError('file.unwritable', `${directory} cannot be written: ${message}`, { cause: error })
    throw damaged(message)
  }
}

/** Looks whether what came is what a control plane can start with. */
function examine(directory: string): void {
  for (const name of ['dploy.db', ...keyFiles.slice(0, 1)])
    if (!existsSync(join(directory, name))) throw damaged(`${name} is not in it`)
  const database = new DatabaseSync(join(directory, 'dploy.db'))
  try {
    const [answer] = database.prepare('PRAGMA integrity_check').all()
    if (answer?.['integrity_check'] !== 'ok') throw damaged('its database is not whole')
  } finally {
    database.close()
  }
}

/** Lines and bytes of one stream, in turn. */
class Lines {
  readonly #source: AsyncIterator<Uint8Array>
  #rest: Buffer = Buffer.alloc(0)

  constructor(source: AsyncIterable<Uint8Array>) {
    this.#source = source[Symbol.asyncIterator]()
  }

  /** The next line without its end; null where there is none. */
  async next(): Promise<string | null> {
    for (;;) {
      const end = this.#rest.indexOf(10)
      if (end >= 0) {
        const line = this.#rest.subarray(0, end).toString('utf8')
        this.#rest = this.#rest.subarray(end + 1)
        return line
      }
      if (this.#rest.length > longestLine || !(await this.#more())) return null
    }
  }

  async *take(size: number): AsyncGenerator<Buffer> {
    for (let left = size; left > 0;) {
      if (this.#rest.length === 0 && !(await this.#more())) throw damaged('it is cut off')
      const bytes = this.#rest.subarray(0, left)
      this.#rest = this.#rest.subarray(bytes.length)
      left -= bytes.length
      yield bytes
    }
  }

  async *rest(): AsyncGenerator<Uint8Array> {
    do {
      const bytes = this.#rest
      this.#rest = Buffer.alloc(0)
      if (bytes.length > 0) yield bytes
    } while (await this.#more())
  }

  async ended(): Promise<boolean> {
    return this.#rest.length === 0 && !(await this.#more())
  }

  async #more(): Promise<boolean> {
    const { value, done } = await this.#source.next()
    if (done) return false
    this.#rest = this.#rest.length === 0 ? Buffer.from(value) : Buffer.concat([this.#rest, value])
    return true
  }
}

function jsonOf(line: string | null): unknown {
  try {
    return line === null ? null : JSON.parse(line)
  } catch {
    return null
  }
}

function damaged(why: string): DployError {
  return new DployError('backup.damaged', `The backup is damaged: ${why}`)
}

function lives(pid: number): boolean {
  try {
    return pid > 0 && process.kill(pid, 0)
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === 'EPERM'
  }
}

function stampOf(at: number): string {
  return new Date(at).toISOString().replace(/[:.]/g, '-')
}

function flush(path: string): void {
  const file = openSync(path, 'r')
  try {
    fsyncSync(file)
  } finally {
    closeSync(file)
  }
}
