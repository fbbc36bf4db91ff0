import assert from 'node:assert/strict'
import { createHash, randomBytes } from 'node:crypto'
import { mkdtempSync, mkdirSync, readdirSync, rmSync, statSync, truncateSync, utimesSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test, type TestContext } from 'node:test'
import { zstdDecompressSync } from 'node:zlib'
import {
  applyDelta,
  decodeDelta,
  makeManifest,
  objectsOf,
  type Digest,
  type Manifest,
} from '../../protocol/manifest.ts'
import { PackReader, type PackedObject } from '../../protocol/pack.ts'
import { ObjectStore } from './object-store.ts'
import { PackCache } from './pack-cache.ts'
import { TemporaryArtifacts } from './temporary-artifacts.ts'

const signal = AbortSignal.timeout(300_000)
const digestOf = (content: string | Uint8Array) => createHash('sha256').update(content).digest('hex')

function workplace(context: TestContext) {
  const top = mkdtempSync(join(tmpdir(), 'dploy-packs-'))
  context.after(() => rmSync(top, { recursive: true, force: true }))
  const store = new ObjectStore(join(top, 'objects'))
  const add = (content: string | Uint8Array): Digest => {
    const into = store.begin()
    into.write(Buffer.from(content))
    return into.done().digest
  }
  const packs = new PackCache(store, join(top, 'packs'))
  return { top, store, add, packs, files: () => readdirSync(join(top, 'packs')) }
}

async function bytesOf(pack: AsyncIterable<Uint8Array>): Promise<Buffer> {
  const chunks: Uint8Array[] = []
  for await (const chunk of pack) {
    assert.ok(chunk.length > 0 && chunk.length <= 256 * 1024, 'fits a frame')
    chunks.push(chunk)
  }
  return Buffer.concat(chunks)
}

/** The objects in a pack, with their contents. */
function objectsIn(bytes: Buffer): { object: PackedObject; content: Buffer }[] {
  const found: { object: PackedObject; chunks: Buffer[] }[] = []
  const reader = new PackReader({
    begin: (object) => void found.push({ object, chunks: [] }),
    data: (chunk) => void found.at(-1)!.chunks.push(chunk),
    end: () => {},
  })
  reader.push(zstdDecompressSync(bytes))
  reader.finish()
  return found.map(({ object, chunks }) => ({ object, content: Buffer.concat(chunks) }))
}

function manifestOf(files: Record<string, string>): Manifest {
  return makeManifest(
    Object.entries(files).map(([path, content]) => ({
      kind: 'file',
      path,
      executable: false,
      size: content.length,
      digest: digestOf(content),
    })),
  )
}

test('a pack has just the objects that were asked for, as they are', async (context) => {
  const { add, packs, store } = workplace(context)
  const contents = ['', 'x', 'y'.repeat(1_000_000), randomBytes(300_000)]
  const digests = contents.map(add)
  add('not asked for')
  const objects = objectsIn(await bytesOf(packs.pack(digests, signal)))
  assert.deepEqual(
    objects.map(({ object }) => object),
    digests.map((digest, index) => ({ digest, size: contents[index]!.length, time: store.stat(digest).time })),
  )
  for (const [index, { content }] of objects.entries()) assert.ok(content.equals(Buffer.from(contents[index]!)))
  assert.deepEqual(objectsIn(await bytesOf(packs.pack([], signal))), [])
})

test('a large pack goes through a file, in bounded memory, and the file goes with it', async (context) => {
  const { add, packs, files } = workplace(context)
  const content = randomBytes(1024 * 1024)
  const digests = Array.from({ length: 12 }, (_, index) => add(Buffer.concat([Buffer.of(index), content])))
  const [first, second] = await Promise.all([
    bytesOf(packs.pack(digests, signal)),
    bytesOf(packs.pack(digests.toReversed(), signal)),
  ])
  assert.ok(first.equals(second))
  assert.equal(packs.computed, 1, 'the order of the question does not matter')
  assert.deepEqual(
    objectsIn(first).map(({ object }) => object.digest),
    digests,
  )
  assert.equal(files().length, 1)
  packs.clear()
  assert.ok((await bytesOf(packs.pack(digests, signal))).equals(first))
  assert.equal(packs.computed, 2)
  assert.equal(files().length, 1)
})

test('what eight ask for at once is computed once, in memory and as a file; other objects are another pack', async (context) => {
  const { add, packs } = workplace(context)
  const small = ['a', 'b', 'c'].map(add)
  const large = [add(randomBytes(9 * 1024 * 1024))]
  for (const digests of [small, large]) {
    const before = packs.computed
    const all = await Promise.all(Array.from({ length: 8 }, () => bytesOf(packs.pack(digests, signal))))
    assert.equal(packs.computed, before + 1)
    assert.ok(all.every((bytes) => bytes.equals(all[0]!)))
    await bytesOf(packs.pack(digests, signal))
    assert.equal(packs.computed, before + 1)
  }
  await bytesOf(packs.pack(small.slice(1), signal))
  assert.equal(packs.computed, 3)
})

test('one who breaks off, or is cancelled, does not disturb the others', async (context) => {
  const { add, packs } = workplace(context)
  const digests = [add(randomBytes(12 * 1024 * 1024))]
  const abort = new AbortController()
  const cancelled = bytesOf(packs.pack(digests, abort.signal))
  const whole = bytesOf(packs.pack(digests, signal))
  const broken = (async () => {
    for await (const chunk of packs.pack(digests, signal)) return chunk.length
  })()
  abort.abort(new Error('cancelled by Anna'))
  await assert.rejects(cancelled)
  assert.ok((await broken)! > 0)
  assert.equal(objectsIn(await whole).length, 1)
  assert.equal(packs.computed, 1)
})

for (const [name, size] of [
  ['in memory', 100_000],
  ['as a file', 10 * 1024 * 1024],
] as const) {
  test(`a damaged object is noticed before any of the pack is sent, ${name}, and forgotten, so that it can be read anew`, async (context) => {
    const { add, packs, store, files } = workplace(context)
    const content = randomBytes(size)
    const [good, digest] = [add('good'), add(content)]
    const damages: Record<string, (path: string) => void> = {
      'a wrong byte': (path) =>
        writeFileSync(path, Buffer.concat([content.subarray(0, size - 1), Buffer.of(content[size - 1]! ^ 1)])),
      'too few bytes': (path) => truncateSync(path, size - 1),
      nothing: (path) => truncateSync(path, 0),
      'zeros, as after a power cut': (path) => writeFileSync(path, Buffer.alloc(size)),
    }
    for (const [damage, harm] of Object.entries(damages)) {
      harm(store.path(digest))
      let sent = 0
      const sending = (async () => {
        for await (const chunk of packs.pack([good, digest], signal)) sent += chunk.length
      })()
      await assert.rejects(sending, { code: 'object.corrupt', where: store.path(digest) }, damage)
      assert.equal(sent, 0)
      assert.ok(!store.has(digest) && store.has(good))
      await assert.rejects(bytesOf(packs.pack([good, digest], signal)), { code: 'object.missing' })
      assert.deepEqual(files(), [])
      assert.equal(add(content), digest)
      assert.ok(objectsIn(await bytesOf(packs.pack([good, digest], signal)))[1]!.content.equals(content))
      packs.clear()
      await new Promise((resolve) => setImmediate(resolve))
    }
  })
}

test('many packs are forgotten, the one used least lately first', async (context) => {
  const { add, packs } = workplace(context)
  const digests = Array.from({ length: 11 }, () => add(randomBytes(7 * 1024 * 1024)))
  for (const digest of digests.slice(0, 9)) await bytesOf(packs.pack([digest], signal))
  await bytesOf(packs.pack([digests[0]!], signal))
  assert.equal(packs.computed, 9)
  for (const digest of digests.slice(9)) await bytesOf(packs.pack([digest], signal))
  await bytesOf(packs.pack([digests[0]!], signal))
  assert.equal(packs.computed, 11, 'what was used lately is kept')
  await bytesOf(packs.pack([digests[1]!], signal))
  assert.equal(packs.computed, 12, 'what was not is computed again')
})

test('files of packs that a killed process left are removed, those of living ones stay', (context) => {
  const { top, store } = workplace(context)
  const directory = join(top, 'left')
  mkdirSync(directory)
  for (const name of [
    '4194304-dead',
    `${process.pid}-before`,
    `${process.pid}-now`,
    `${process.ppid}-other`,
    'nonsense',
  ])
    writeFileSync(join(directory, name), '')
  utimesSync(join(directory, `${process.pid}-before`), 1, 1)
  new PackCache(store, directory)
  assert.deepEqual(readdirSync(directory).sort(), [`${process.pid}-now`, `${process.ppid}-other`].sort())
})

test('a delta turns one manifest into the other, and is made once for each pair', async (context) => {
  const { packs } = workplace(context)
  const from = manifestOf({ a: '1', b: '2', c: '3' })
  const to = manifestOf({ a: '1', b: 'changed', d: '4' })
  const all = await Promise.all(Array.from({ length: 8 }, () => packs.delta(from, to)))
  assert.ok(all.every((delta) => delta === all[0]))
  const delta = decodeDelta(zstdDecompressSync(all[0]!).toString('utf8'))
  assert.deepEqual([delta.removed, delta.changed.map(({ path }) => path)], [['c'], ['b', 'd']])
  assert.equal(applyDelta(from, delta).digest, to.digest)
  assert.notEqual(await packs.delta(to, from), all[0])
  const whole = decodeDelta(zstdDecompressSync(await packs.delta(null, to)).toString('utf8'))
  assert.equal(applyDelta(null, whole).digest, to.digest)
  for (let index = 0; index < 80; index++) await packs.delta(from, manifestOf({ a: String(index) }))
  assert.equal(
    applyDelta(from, decodeDelta(zstdDecompressSync(await packs.delta(from, to)).toString('utf8'))).digest,
    to.digest,
  )
})

test('a server is sent only what it lacks, and nothing that is not of its artifact', async () => {
  using world = new TemporaryArtifacts()
  world.repository.commit({ a: 'one', b: 'two' })
  const first = await world.build()
  world.repository.commit({ b: 'two, changed', c: 'three', d: 'one' })
  const second = await world.build()
  const held = objectsOf(world.artifacts.manifests.get(first.artifact))
  const delta = decodeDelta(
    zstdDecompressSync(await world.artifacts.delta(first.artifact, second.artifact)).toString('utf8'),
  )
  const missing = [...objectsOf(makeManifest(delta.changed)).keys()].filter((digest) => !held.has(digest))
  const sent = objectsIn(await bytesOf(world.artifacts.pack(second.artifact, missing, signal)))
  assert.deepEqual(sent.map(({ content }) => content.toString()).sort(), ['three', 'two, changed'])
  await assert.rejects(bytesOf(world.artifacts.pack(second.artifact, [digestOf('two')], signal)), {
    code: 'object.missing',
    message: /does not belong to this release/,
  })
  await assert.rejects(bytesOf(world.artifacts.pack('0'.repeat(64), [], signal)), { code: 'object.missing' })
  // A base that is gone is none.
  const whole = decodeDelta(
    zstdDecompressSync(await world.artifacts.delta('0'.repeat(64), second.artifact)).toString('utf8'),
  )
  assert.equal(applyDelta(null, whole).digest, second.artifact)
})

test('after a damaged object the next build reads it anew and the pack is whole', async () => {
  using world = new TemporaryArtifacts()
  world.repository.commit({ a: 'some content', b: 'other' })
  const built = await world.build()
  const digest = digestOf('some content')
  const path = world.artifacts.store.path(digest)
  writeFileSync(path, 'tome content')
  assert.equal(statSync(path).size, 12)
  await assert.rejects(bytesOf(world.artifacts.pack(built.artifact, [digest], signal)), { code: 'object.corrupt' })
  assert.deepEqual(await world.build(), { artifact: built.artifact, cached: false, read: 1 })
  assert.equal(
    objectsIn(await bytesOf(world.artifacts.pack(built.artifact, [digest], signal)))[0]!.content.toString(),
    'some content',
  )
})
