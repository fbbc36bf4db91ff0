import { createHash } from 'node:crypto'
import { createReadStream, createWriteStream, linkSync, mkdirSync, readdirSync, rmSync, statSync } from 'node:fs'
import { open, rename, rm } from 'node:fs/promises'
import { dirname, join, resolve } from 'node:path'
import { backup, DatabaseSync } from 'node:sqlite'
import { Readable } from 'node:stream'
import { pipeline } from 'node:stream/promises'
import { createZstdCompress } from 'node:zlib'
import { DployError } from '../../protocol/errors.ts'
import { decodeManifest } from '../../protocol/manifest.ts'
import { scratchDirectory, scratchName } from '../artifacts/scratch.ts'
import { newSealing, seal, type Sealing } from './sealed-stream.ts'

/** The first line of a backup. */
export const mark = 'dploy-backup'
/** The second one: what is needed to read the rest. */
export interface BackupHead {
  format: 1
  createdAt: number
  artifacts: boolean
  sealing: Sealing | null
}
/** Before the bytes of each file. */
export interface FileHead {
  path: string
  size: number
}
/** The last of all: so that a backup that was cut off is none. `sha256`: of all that came before it. */
export interface BackupEnd {
  files: number
  sha256: string
}

/** What no control plane can do without, beside its database: agents obey that key only, and secrets open with the other. */
export const keyFiles = ['control-key.pem', 'secret-key'] as const
/** So often is it begun anew when artifacts are removed meanwhile. */
const attempts = 5

export interface BackupOptions {
  data: string
  file: string
  passphrase: string | null
  artifacts: boolean
}

export interface BackedUp {
  file: string
  bytes: number
  releases: number
  objects: number
  /** Numbers of releases of which something was missing already, with their environment's id. */
  lacking: number
}

/** Backs a data directory up into one file, while its control plane works. Throws `backup.no_data`, `file.unwritable`. */
export async function backUp(options: BackupOptions): Promise<BackedUp> {
  const { data, file } = options
  if (statSync(join(data, 'dploy.db'), { throwIfNoEntry: false }) === undefined)
    throw new DployError('backup.no_data', `There is no control plane's data in ${data}`, { where: data })
  const scratch = join(scratchDirectory(join(data, 'backups')), scratchName())
  mkdirSync(scratch, { mode: 0o700 })
  const temporary = `${resolve(file)}.new-${process.pid}`
  try {
    const held = await hold(options, scratch)
    const count = { files: 0 }
    const head: BackupHead = {
      format: 1,
      createdAt: Date.now(),
      artifacts: options.artifacts,
      sealing: options.passphrase === null ? null : newSealing(),
    }
    const body = Readable.from(contentOf(scratch, held.files, count)).pipe(createZstdCompress())
    const sealed = head.sealing === null ? body : seal(body, options.passphrase!, head.sealing)
    const target = createWriteStream(temporary, { flags: 'wx', mode: 0o600 })
    await pipeline(async function* () {
      yield Buffer.from(`${mark}\n${JSON.stringify(head)}\n`)
      yield* sealed as AsyncIterable<Uint8Array>
    }, target).catch((error: unknown) => {
      if (error instanceof DployError) throw error
      throw new DployError('file.unwritable', `${file} cannot be written: ${(error as Error).message}`, {
        cause: error,
      })
    })
    await flush(temporary)
    await rename(temporary, resolve(file))
    await flush(dirname(resolve(file)))
    return {
      file: resolve(file),
      bytes: statSync(file).size,
      releases: held.releases,
      objects: held.objects,
      lacking: held.lacking,
    }
  } finally {
    await rm(temporary, { force: true })
    rmSync(scratch, { recursive: true, force: true })
  }
}

/** Takes hold of the state of one moment: a copy of the database, and links to all that it names. */
async function hold(
  { data, artifacts }: BackupOptions,
  scratch: string,
): Promise<{ files: FileHead[]; releases: number; objects: number; lacking: number }> {
  for (let attempt = 1; ; attempt++) {
    const there = namesIn(join(data, 'manifests'))
    rmSync(join(scratch, 'state'), { recursive: true, force: true })
    const state = join(scratch, 'state')
    mkdirSync(state, { mode: 0o700 })
    await copyDatabase(join(data, 'dploy.db'), join(state, 'dploy.db'))
    const named = artifactsOf(join(state, 'dploy.db'))
    const files: string[] = ['dploy.db']
    for (const name of keyFiles)
      if (statSync(join(data, name), { throwIfNoEntry: false })) {
        linkSync(join(data, name), join(state, name))
        files.push(name)
      }
    let lacking = 0
    let gone = false
    const objects = new Set<string>()
    if (artifacts) {
      for (const directory of ['manifests', 'objects']) mkdirSync(join(state, directory), { mode: 0o700 })
      for (const artifact of new Set(named)) {
        const path = join('manifests', artifact)
        // What was removed as nothing needs it any more is in no backup either.
        if (!tryLink(join(data, path), join(state, path))) {
          if (there.has(artifact)) gone = true
          continue
        }
        files.push(path)
        const entries = decodeManifest(await readText(join(state, path))).entries
        let whole = true
        for (const entry of entries) {
          if (entry.kind !== 'file' || objects.has(entry.digest)) continue
          const object = join('objects', entry.digest.slice(0, 2), entry.digest)
          mkdirSync(join(state, 'objects', entry.digest.slice(0, 2)), { recursive: true, mode: 0o700 })
          if (tryLink(join(data, object), join(state, object))) {
            objects.add(entry.digest)
            files.push(object)
          } else whole = false
        }
        if (!whole) lacking++
      }
    }
    if ((gone || lacking > 0) && attempt < attempts) continue
    return {
      files: files.map((path) => ({ path, size: statSync(join(state, path)).size })),
      releases: named.length,
      objects: objects.size,
      lacking,
    }
  }
}

/** In one step: one that is cut into several begins anew whenever the control plane writes. */
async function copyDatabase(from: string, to: string): Promise<void> {
  const database = new DatabaseSync(from, { readOnly: true, timeout: 30_000 })
  try {
    await backup(database, to, { rate: 1_000_000_000 })
  } finally {
    database.close()
  }
  // A copy needs no log beside it.
  const copy = new DatabaseSync(to)
  copy.exec('PRAGMA journal_mode = DELETE')
  copy.close()
}

function artifactsOf(path: string): string[] {
  const database = new DatabaseSync(path, { readOnly: true })
  try {
    return database
      .prepare('select artifact from releases')
      .all()
      .map((row) => row['artifact'] as string)
  } finally {
    database.close()
  }
}

async function* contentOf(scratch: string, files: FileHead[], count: { files: number }): AsyncGenerator<Uint8Array> {
  const hash = createHash('sha256')
  const said = (bytes: Buffer) => {
    hash.update(bytes)
    return bytes
  }
  for (const head of files) {
    yield said(Buffer.from(`${JSON.stringify(head)}\n`))
    let left = head.size
    for await (const bytes of createReadStream(join(scratch, 'state', head.path))) {
      left -= (bytes as Buffer).length
      yield said(bytes as Buffer)
    }
    if (left !== 0) throw new DployError('file.changed', `${head.path} changed while it was backed up`)
    count.files++
  }
  yield Buffer.from(`${JSON.stringify({ files: count.files, sha256: hash.digest('hex') } satisfies BackupEnd)}\n`)
}

function tryLink(from: string, to: string): boolean {
  try {
    linkSync(from, to)
    return true
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return false
    throw error
  }
}

function namesIn(directory: string): ReadonlySet<string> {
  try {
    return new Set(readdirSync(directory))
  } catch {
    return new Set()
  }
}

async function readText(path: string): Promise<string> {
  const file = await open(path)
  try {
    return await file.readFile('utf8')
  } finally {
    await file.close()
  }
}

async function flush(path: string): Promise<void> {
  const file = await open(path)
  try {
    await file.sync()
  } finally {
    await file.close()
  }
}
