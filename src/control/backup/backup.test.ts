import assert from 'node:assert/strict'
import { createHash } from 'node:crypto'
import { existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import { test, type TestContext } from 'node:test'
import { makeManifest, textOf } from '../../protocol/manifest.ts'
import { startControlPlane } from '../control-plane.ts'
import { lockData } from '../data-lock.ts'
import { backUp } from './backup.ts'
import { restore } from './restore.ts'

const sha256 = (bytes: string | Buffer) => createHash('sha256').update(bytes).digest('hex')

/** A data directory as a control plane makes it, with a release. */
async function fixture(context: TestContext) {
  const directory = mkdtempSync(join(tmpdir(), 'dploy-backup-'))
  context.after(() => rmSync(directory, { recursive: true, force: true }))
  const data = join(directory, 'data')
  await (await startControlPlane({ data }))[Symbol.asyncDispose]()
  const content = Buffer.alloc(300_000, 'some content ')
  const manifest = makeManifest([
    { kind: 'file', path: 'a', digest: sha256(content), size: content.length, executable: false },
  ])
  const object = join('objects', sha256(content).slice(0, 2), sha256(content))
  mkdirSync(join(data, object, '..'), { recursive: true })
  writeFileSync(join(data, object), content)
  writeFileSync(join(data, 'manifests', manifest.digest), textOf(manifest))
  const database = new DatabaseSync(join(data, 'dploy.db'))
  context.after(() => database.close())
  database.exec('PRAGMA foreign_keys = OFF')
  let number = 0
  const release = () =>
    database
      .prepare(
        'insert into releases (id, environment_id, number, artifact, spec, created_at) values (?, ?, ?, ?, ?, ?)',
      )
      .run(`rel_${++number}`, 'env', number, manifest.digest, '{}', 0)
  release()
  return { directory, data, file: join(directory, 'it.backup'), manifest, object, content, release }
}
const numbers = (data: string) => {
  const database = new DatabaseSync(join(data, 'dploy.db'), { readOnly: true })
  try {
    return database
      .prepare('select number from releases order by number')
      .all()
      .map((row) => row['number'])
  } finally {
    database.close()
  }
}
const plain = { passphrase: null, artifacts: true }
const nobody = async () => assert.fail('nobody is asked for a passphrase')

test('what is backed up while it is written to is restored whole: database, keys, manifests and objects', async (context) => {
  const { data, file, directory, object, content, manifest, release } = await fixture(context)
  // It stands in the write-ahead log alone.
  release()
  const made = await backUp({ data, file, ...plain })
  assert.deepEqual([made.releases, made.objects, made.lacking], [2, 1, 0])
  assert.equal(statSync(file).mode & 0o777, 0o600)
  assert.deepEqual(readdirSync(join(data, 'backups')), [])
  const target = join(directory, 'restored')
  await restore({ data: target, file, force: false, passphrase: nobody })
  assert.deepEqual(numbers(target), [1, 2])
  for (const name of ['control-key.pem', 'secret-key', object, `manifests/${manifest.digest}`])
    assert.ok(readFileSync(join(target, name)).equals(readFileSync(join(data, name))), name)
  assert.equal(readFileSync(join(target, object)).length, content.length)
  assert.deepEqual(
    readdirSync(target).filter((name) => /restoring|serving/.test(name)),
    [],
  )
  // A control plane starts with it, and backs it up again.
  await (await startControlPlane({ data: target }))[Symbol.asyncDispose]()
  assert.equal((await backUp({ data: target, file: join(directory, 'again'), ...plain })).objects, 1)
})

test('with a passphrase nothing of it can be read, and a wrong one is told', async (context) => {
  const { data, file, directory } = await fixture(context)
  const passphrase = 'correct horse battery staple'
  await backUp({ data, file, passphrase, artifacts: true })
  const bytes = readFileSync(file)
  assert.ok(!bytes.includes('SQLite') && !bytes.includes('PRIVATE KEY'))
  const target = join(directory, 'restored')
  await assert.rejects(restore({ data: target, file, force: false, passphrase: async () => 'wrong' }), {
    code: 'backup.passphrase',
  })
  await restore({ data: target, file, force: false, passphrase: async () => passphrase })
  assert.deepEqual(numbers(target), [1])
})

test('a backup of which one byte is wrong, or missing, is refused, and nothing is restored', async (context) => {
  const { data, file, directory } = await fixture(context)
  const target = join(directory, 'restored')
  const bad = join(directory, 'bad')
  for (const passphrase of [null, 'a passphrase']) {
    await backUp({ data, file, passphrase, artifacts: true })
    const bytes = readFileSync(file)
    const flipped = (at: number) => {
      const wrong = Buffer.from(bytes)
      wrong[at]! ^= 1
      return wrong
    }
    const start = bytes.indexOf(10, bytes.indexOf(10) + 1) + 1
    const places = [0, start + 20, Math.floor((start + bytes.length) / 2), bytes.length - 3]
    for (const wrong of [
      ...places.map(flipped),
      bytes.subarray(0, -1),
      bytes.subarray(0, start + 5),
      Buffer.alloc(0),
    ]) {
      writeFileSync(bad, wrong)
      await assert.rejects(
        restore({ data: target, file: bad, force: false, passphrase: async () => passphrase ?? '' }),
        ({ code }: { code: string }) => /^backup\.(damaged|passphrase)$/.test(code),
      )
      assert.deepEqual(readdirSync(target), ['.gitignore'])
    }
  }
})

test('data that is there, or in use, is not overwritten; with --force it is kept beside', async (context) => {
  const { data, file, release } = await fixture(context)
  await backUp({ data, file, ...plain })
  release()
  const again = { data, file, passphrase: nobody }
  await assert.rejects(restore({ ...again, force: false }), { code: 'restore.not_empty' })
  {
    using _serving = lockData(data)
    await assert.rejects(restore({ ...again, force: true }), { code: 'deployment.conflict' })
  }
  const { before } = await restore({ ...again, force: true })
  assert.deepEqual(numbers(data), [1])
  assert.deepEqual(numbers(before!), [1, 2])
})

test('without artifacts there are none; where nothing is there is nothing to back up; what cannot be written leaves nothing', async (context) => {
  const { data, file, directory, object } = await fixture(context)
  await backUp({ data, file, passphrase: null, artifacts: false })
  const target = join(directory, 'restored')
  await restore({ data: target, file, force: false, passphrase: nobody })
  assert.ok(!existsSync(join(target, object)))
  await assert.rejects(backUp({ data: directory, file, ...plain }), { code: 'backup.no_data' })
  await assert.rejects(backUp({ data, file: join(directory, 'nowhere/it'), ...plain }), { code: 'file.unwritable' })
  assert.deepEqual(readdirSync(join(data, 'backups')), [])
})

test('an artifact of which something is missing is counted', async (context) => {
  const { data, file, object } = await fixture(context)
  rmSync(join(data, object))
  assert.equal((await backUp({ data, file, ...plain })).lacking, 1)
})
