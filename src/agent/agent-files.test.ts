import assert from 'node:assert/strict'
import { spawn, spawnSync } from 'node:child_process'
import { createHash } from 'node:crypto'
import {
  appendFileSync,
  chmodSync,
  existsSync,
  linkSync,
  lstatSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  rmSync,
  statSync,
  utimesSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test, type TestContext } from 'node:test'
import { zstdCompressSync } from 'node:zlib'
import { diffManifests, encodeDelta, makeManifest, type Entry, type Manifest } from '../protocol/manifest.ts'
import { packHeader, PackReader } from '../protocol/pack.ts'
import type { ReleaseSpec } from '../protocol/release-spec.ts'
import { ApplicationDirectory } from './application-directory.ts'
import { stageRelease, type Staged } from './stage.ts'

const time = Date.UTC(2026, 0, 2, 3, 4, 5)

/** What the control plane would have: contents by digest. */
class Source {
  readonly contents = new Map<string, Buffer>()
  readonly sent: string[] = []
  wrong = false

  manifest(files: Record<string, string | Buffer | { x: string } | { link: string } | null>): Manifest {
    return makeManifest(
      Object.entries(files).map(([path, value]): Entry => {
        if (value === null) return { kind: 'directory', path }
        if (typeof value === 'object' && 'link' in value) return { kind: 'link', path, target: value.link }
        const content = Buffer.isBuffer(value) ? value : Buffer.from(typeof value === 'object' ? value.x : value)
        const digest = createHash('sha256').update(content).digest('hex')
        this.contents.set(digest, content)
        return {
          kind: 'file',
          path,
          digest,
          size: content.length,
          executable: typeof value === 'object' && 'x' in value && !Buffer.isBuffer(value),
        }
      }),
    )
  }

  stage(
    directory: ApplicationDirectory,
    number: number,
    manifest: Manifest,
    options: {
      from?: Manifest | null
      shared?: string[]
      assets?: string[]
      writable?: string[]
      keepOthers?: boolean
    } = {},
  ): Promise<Staged> {
    const from = options.from ?? null
    return stageRelease({
      directory,
      spec: { ...spec(number, manifest, options.shared ?? [], options.assets ?? []), writable: options.writable ?? [] },
      from: from?.digest ?? null,
      delta: zstdCompressSync(encodeDelta(diffManifests(from, manifest))),
      signal: AbortSignal.timeout(20_000),
      keepOthers: options.keepOthers ?? false,
      fetchManifest: async () => manifest,
      fetchObjects: async (wanted, sink) => {
        const reader = new PackReader(sink)
        let bytes = 0
        for (const digest of wanted.keys()) {
          this.sent.push(digest)
          const content = this.wrong
            ? Buffer.from(this.contents.get(digest)!.toString().toUpperCase())
            : this.contents.get(digest)!
          for (const part of [
            packHeader({ digest, size: content.length, time }),
            content.subarray(0, 5),
            content.subarray(5),
          ]) {
            reader.push(part)
            bytes += part.length
          }
        }
        reader.finish()
        return { bytes }
      },
    })
  }
}

function spec(number: number, manifest: Manifest, shared: string[], assets: string[]): ReleaseSpec {
  return {
    id: `rel_${number}`,
    number,
    application: 'shop',
    environment: 'production',
    artifact: manifest.digest,
    revision: { commit: null, ref: null, subject: '', author: '', time: 0 },
    directory: '/srv/shop',
    keep: 2,
    shared,
    assets,
    service: null,
    hooks: {},
    release_command: null,
    variables: {},
    secrets: {},
  }
}

function fixture(context: TestContext): {
  root: string
  directory: ApplicationDirectory
  source: Source
  read: (number: number, path: string) => string
} {
  const root = mkdtempSync(join(tmpdir(), 'dploy-agent-'))
  context.after(() => rmSync(root, { recursive: true, force: true }))
  const directory = new ApplicationDirectory(root, '/srv/shop')
  return {
    root,
    directory,
    source: new Source(),
    read: (number, path) => readFileSync(join(directory.releasePath(number), path), 'utf8'),
  }
}

const tree = (path: string): string[] => readdirSync(path, { recursive: true, encoding: 'utf8' }).sort()

test('a release stands as its manifest says, with hostile names, modes, links and empty things', async (context) => {
  const { directory, source, read } = fixture(context)
  const odd = ['new\nline', `quote's "double"`, '-rf', '$(touch x)', 'ü'.repeat(127)]
  const manifest = source.manifest({
    'bin/run': { x: '#!/bin/sh\n' },
    'a/b/c.txt': 'deep',
    empty: '',
    'empty dir': null,
    here: { link: 'a/b/c.txt' },
    ...Object.fromEntries(odd.map((name) => [`odd/${name}`, name])),
  })
  const staged = await source.stage(directory, 1, manifest)
  assert.equal(staged.already, false)
  assert.equal(read(1, 'a/b/c.txt'), 'deep')
  assert.equal(read(1, 'here'), 'deep')
  assert.equal(statSync(join(directory.releasePath(1), 'bin/run')).mode & 0o777, 0o555)
  assert.equal(statSync(join(directory.releasePath(1), 'empty')).size, 0)
  assert.ok(statSync(join(directory.releasePath(1), 'empty dir')).isDirectory())
  for (const name of odd) assert.equal(read(1, `odd/${name}`), name)
  assert.deepEqual(directory.numbers(), [1])
})

test('only what is missing travels; staging again moves nothing', async (context) => {
  const { directory, source } = fixture(context)
  const first = source.manifest({ a: 'a', b: 'b', c: 'c' })
  await source.stage(directory, 1, first)
  source.sent.length = 0
  const second = source.manifest({ a: 'a', b: 'B', c: 'c' })
  assert.equal((await source.stage(directory, 2, second, { from: first })).objects, 1)
  assert.equal(source.sent.length, 1)
  const again = await source.stage(directory, 2, second, { from: first })
  assert.deepEqual([again.already, again.objects, again.bytes], [true, 0, 0])
})

test('what another application, or another environment, has in the directory is seen', async (context) => {
  const { directory, source } = fixture(context)
  const [ours, blog, staging] = [
    { application: 'shop', environment: 'production' },
    { application: 'blog', environment: 'production' },
    { application: 'shop', environment: 'staging' },
  ]
  for (const place of [ours, blog, staging]) assert.equal(directory.foreign(place), null)
  await source.stage(directory, 1, source.manifest({ a: '1' }))
  // Staged or serving.
  for (const serve of [() => {}, () => directory.switchTo(1)]) {
    serve()
    assert.equal(directory.foreign(ours), null)
    for (const place of [blog, staging]) {
      assert.equal(directory.foreign(place)?.number, 1)
      assert.throws(() => directory.mustNotBeForeign(place), { code: 'server.directory_taken' })
    }
  }
})

test('current is switched by a link, and only to what is staged', async (context) => {
  const { directory, source } = fixture(context)
  await source.stage(directory, 1, source.manifest({ a: '1' }))
  assert.equal(directory.current(), null)
  directory.switchTo(1)
  assert.equal(directory.current(), 1)
  assert.equal(readlinkSync(join(directory.path, 'current')), 'releases/1')
  assert.throws(() => directory.switchTo(2), { code: 'release.unknown' })
})

test('what the application writes into a release does not reach later releases', async (context) => {
  const { directory, source, read } = fixture(context)
  const first = source.manifest({ code: 'good', other: 'x', run: { x: 'tool' } })
  await source.stage(directory, 1, first)
  // As after every deployment: the next release's tree is of the objects that are written to.
  directory.prepareSpare()
  for (const name of ['code', 'run']) {
    chmodSync(join(directory.releasePath(1), name), 0o755)
    appendFileSync(join(directory.releasePath(1), name), ' and evil')
  }
  const second = source.manifest({ code: 'good', other: 'y', run: { x: 'tool' } })
  const staged = await source.stage(directory, 2, second, { from: first })
  assert.equal(read(2, 'code'), 'good')
  assert.equal(read(2, 'run'), 'tool')
  assert.equal(staged.repaired, 1, 'the executable is copied again from the plain object, which is intact')
  assert.equal(read(1, 'code'), 'good and evil', 'the running release keeps what it has')
})

test("no two paths of a release are the same file, and empty files are nobody else's", async (context) => {
  const { directory, source, read } = fixture(context)
  const files = { 'app.log': '', 'pkg/__init__.py': '', 'a/LICENSE': 'MIT', 'b/LICENSE': 'MIT', run: { x: 'MIT' } }
  const inodes = (number: number) =>
    tree(directory.releasePath(number))
      .map((path) => lstatSync(join(directory.releasePath(number), path)))
      .filter((stat) => stat.isFile())
      .map((stat) => stat.ino)
  const first = source.manifest(files)
  await source.stage(directory, 1, first)
  directory.switchTo(1)
  // A tree of an agent from before, in which they were the same.
  directory.prepareSpare()
  const spare = join(directory.path, '.dploy/spare', first.digest)
  rmSync(join(spare, 'app.log'))
  linkSync(join(spare, 'pkg/__init__.py'), join(spare, 'app.log'))
  const second = source.manifest({ ...files, 'c/LICENSE': 'MIT' })
  await source.stage(directory, 2, second, { from: first })
  const all = [...inodes(1), ...inodes(2)]
  assert.equal(new Set(inodes(2)).size, 6)
  assert.equal(new Set(all).size, all.length, 'they are not those of another release either')
  appendFileSync(join(directory.releasePath(1), 'app.log'), 'line')
  for (const path of ['app.log', 'pkg/__init__.py']) assert.equal(read(2, path), '')
  assert.equal(read(1, 'pkg/__init__.py'), '')
  assert.equal(statSync(join(directory.releasePath(2), 'run')).mode & 0o777, 0o555)
})

test('what was written to a release is told and put back before it is started again', async (context) => {
  const { directory, source, read } = fixture(context)
  const first = source.manifest({ code: 'good', same: 'same', gone: 'gone', 'tmp/.keep': 'k' })
  await source.stage(directory, 1, first)
  directory.switchTo(1)
  await source.stage(directory, 2, source.manifest({ code: 'better', same: 'same' }), { from: first })
  directory.switchTo(2)
  const write = (number: number, path: string, text: string) => {
    chmodSync(join(directory.releasePath(number), path), 0o644)
    writeFileSync(join(directory.releasePath(number), path), text)
  }
  write(1, 'code', 'evil')
  // The store's object too, and the earlier release's file: they are one.
  write(2, 'same', 'evil')
  rmSync(join(directory.releasePath(1), 'gone'))
  writeFileSync(join(directory.releasePath(1), 'app.sock'), 'made by the service')
  assert.equal(read(1, 'same'), 'evil')
  source.sent.length = 0
  const staged = await source.stage(directory, 1, first, { keepOthers: true })
  assert.deepEqual(staged.changed.sort(), ['code', 'gone', 'same'])
  assert.deepEqual(
    ['code', 'same', 'gone'].map((path) => read(1, path)),
    ['good', 'same', 'gone'],
  )
  assert.equal(source.sent.length, 2, 'what was intact in the store does not travel')
  assert.equal(read(1, 'app.sock'), 'made by the service')
  assert.deepEqual((await source.stage(directory, 1, first)).changed, [])
})

test('an object that lies about its content is not put back', async (context) => {
  const { directory, source, read } = fixture(context)
  const manifest = source.manifest({ code: 'good' })
  await source.stage(directory, 1, manifest)
  directory.switchTo(1)
  const path = join(directory.releasePath(1), 'code')
  const { atime, mtime } = statSync(path)
  chmodSync(path, 0o644)
  writeFileSync(path, 'evil')
  utimesSync(path, atime, mtime)
  rmSync(path)
  assert.deepEqual((await source.stage(directory, 1, manifest)).changed, ['code'])
  assert.equal(read(1, 'code'), 'good')
})

test('what a service may write to is its own in each release, and stays as it is there', async (context) => {
  const { directory, source, read } = fixture(context)
  const files = { 'bootstrap/cache/.gitignore': '*', 'tmp/pids/.keep': '', 'tmp/tool': { x: 'tool' }, code: 'code' }
  const writable = ['bootstrap/cache', 'tmp', 'var/run']
  const first = source.manifest(files)
  await source.stage(directory, 1, first, { writable })
  directory.switchTo(1)
  directory.prepareSpare()
  const at = (number: number, path: string) => join(directory.releasePath(number), path)
  for (const path of ['bootstrap/cache/.gitignore', 'tmp/tool']) {
    assert.equal(statSync(at(1, path)).nlink, 1)
    appendFileSync(at(1, path), '!')
  }
  assert.equal(statSync(at(1, 'tmp/tool')).mode & 0o777, 0o755)
  assert.ok(statSync(at(1, 'var/run')).isDirectory())
  writeFileSync(at(1, 'tmp/pids/app.pid'), '1')
  await source.stage(directory, 2, source.manifest({ ...files, code: 'new' }), { from: first, writable })
  assert.equal(read(2, 'tmp/tool'), 'tool')
  assert.equal(existsSync(at(2, 'tmp/pids/app.pid')), false)
  directory.switchTo(2)
  const staged = await source.stage(directory, 1, first, { writable })
  assert.deepEqual(staged.changed, [])
  assert.deepEqual([read(1, 'tmp/tool'), read(1, 'tmp/pids/app.pid')], ['tool!', '1'])
})

test('a write that keeps the size is noticed too', async (context) => {
  const { directory, source, read } = fixture(context)
  const manifest = source.manifest({ code: 'good' })
  await source.stage(directory, 1, manifest)
  directory.prepareSpare()
  chmodSync(join(directory.releasePath(1), 'code'), 0o644)
  writeFileSync(join(directory.releasePath(1), 'code'), 'evil')
  await source.stage(directory, 2, manifest, { from: manifest })
  assert.equal(read(2, 'code'), 'good')
})

test('wrong bytes are refused and nothing is staged', async (context) => {
  const { directory, source } = fixture(context)
  const manifest = source.manifest({ a: 'content' })
  source.wrong = true
  await assert.rejects(source.stage(directory, 1, manifest), { code: 'object.corrupt' })
  assert.deepEqual(directory.numbers(), [])
  source.wrong = false
  await source.stage(directory, 1, manifest)
  assert.deepEqual(directory.numbers(), [1])
})

test('a tree made of an old one is exactly the manifest', async (context) => {
  const { directory, source, read } = fixture(context)
  let before: Manifest | null = null
  for (let number = 1; number <= 6; number++) {
    const manifest = source.manifest({
      same: 'same',
      [`only-${number}`]: 'x',
      version: `v${number}`,
      'dir/x': `${number % 2}`,
      [`d${number}/f`]: 'f',
    })
    await source.stage(directory, number, manifest, { from: before })
    directory.switchTo(number)
    // What applications leave behind: caches, pid files, changed and removed files.
    mkdirSync(join(directory.releasePath(number), 'cache/deep'), { recursive: true })
    writeFileSync(join(directory.releasePath(number), 'cache/deep/file.pyc'), 'x')
    writeFileSync(join(directory.releasePath(number), 'dir/pid'), '1')
    rmSync(join(directory.releasePath(number), 'same'))
    directory.collect(1, [])
    before = manifest
  }
  const manifest = source.manifest({ same: 'same', version: 'v7', 'dir/x': '1' })
  await source.stage(directory, 7, manifest, { from: before })
  assert.deepEqual(tree(directory.releasePath(7)), ['dir', 'dir/x', 'same', 'version'])
  assert.equal(read(7, 'version'), 'v7')
  assert.equal(read(7, 'same'), 'same')
  assert.deepEqual(directory.numbers(), [5, 6, 7])
})

test('collecting keeps the current release, those before it, and what is protected; objects go with their releases', async (context) => {
  const { directory, source } = fixture(context)
  for (let number = 1; number <= 5; number++)
    await source.stage(directory, number, source.manifest({ big: `content of ${number}` }))
  directory.switchTo(4)
  const result = directory.collect(1, [1])
  assert.deepEqual(result.removedReleases, [2])
  assert.deepEqual(directory.numbers(), [1, 3, 4, 5])
  directory.switchTo(5)
  directory.collect(0, [])
  assert.deepEqual(directory.numbers(), [5])
  assert.equal(existsSync(join(directory.path, '.dploy/releases/1.json')), false)
  const again = new ApplicationDirectory(join(directory.path, '../..'), '/srv/shop')
  assert.deepEqual(again.numbers(), [5])
})

test('a spare made of the current release serves the next stage', async (context) => {
  const { directory, source, read } = fixture(context)
  const first = source.manifest({ a: 'a', 'deep/b': 'b' })
  await source.stage(directory, 1, first)
  directory.switchTo(1)
  directory.prepareSpare()
  assert.deepEqual(readdirSync(join(directory.path, '.dploy/spare')), [first.digest])
  await source.stage(directory, 2, source.manifest({ a: 'A', 'deep/b': 'b' }), { from: first })
  assert.equal(read(2, 'a'), 'A')
  assert.equal(read(1, 'a'), 'a')
  assert.deepEqual(readdirSync(join(directory.path, '.dploy/spare')), [])
})

test('shared paths outlive releases and begin with what the release brings', async (context) => {
  const { directory, source, read } = fixture(context)
  const manifest = source.manifest({ 'public/uploads/.keep': '', 'db/data.txt': 'initial', app: '1' })
  const shared = ['public/uploads', 'log', 'db/data.txt']
  await source.stage(directory, 1, manifest, { shared })
  assert.equal(readlinkSync(join(directory.releasePath(1), 'public/uploads')), '../../../shared/public/uploads')
  writeFileSync(join(directory.releasePath(1), 'public/uploads/cat.jpg'), 'cat')
  writeFileSync(join(directory.releasePath(1), 'log/app.log'), 'line')
  writeFileSync(join(directory.releasePath(1), 'db/data.txt'), 'changed')
  const second = source.manifest({ 'public/uploads/.keep': '', 'db/data.txt': 'initial', app: '2' })
  await source.stage(directory, 2, second, { from: manifest, shared })
  assert.equal(read(2, 'public/uploads/cat.jpg'), 'cat')
  assert.equal(read(2, 'log/app.log'), 'line')
  assert.equal(read(2, 'db/data.txt'), 'changed')
})

test('what a killed agent left in the middle is not taken for a release', async (context) => {
  const { directory, source, root } = fixture(context)
  const manifest = source.manifest({ a: 'a' })
  await source.stage(directory, 1, manifest)
  mkdirSync(join(directory.path, 'releases/.staging-2'))
  writeFileSync(join(directory.path, 'releases/.staging-2/half'), 'x')
  writeFileSync(join(directory.path, '.dploy/objects/new/half'), 'x')
  mkdirSync(join(directory.path, 'releases/3'))
  const again = new ApplicationDirectory(root, '/srv/shop')
  assert.deepEqual(again.numbers(), [1])
  assert.deepEqual(readdirSync(join(directory.path, '.dploy/objects/new')), [])
  assert.equal(existsSync(join(directory.path, 'releases/.staging-2')), false)
  await source.stage(again, 3, manifest, { from: manifest })
  assert.deepEqual(again.numbers(), [1, 3])
})

test('what another agent on this server is in the middle of stays when one begins', async (context) => {
  const { root, directory } = fixture(context)
  const other = spawn('sleep', ['60'])
  context.after(() => other.kill())
  const gone = spawnSync('true').pid
  const names = (pid: number) => [`releases/.staging-2.${pid}`, `.dploy/objects/new/half.${pid}`]
  for (const name of [...names(other.pid!), ...names(gone)]) writeFileSync(join(directory.path, name), 'x')
  assert.ok(new ApplicationDirectory(root, '/srv/shop'))
  assert.deepEqual(
    names(other.pid!).filter((name) => !existsSync(join(directory.path, name))),
    [],
  )
  assert.deepEqual(
    names(gone).filter((name) => existsSync(join(directory.path, name))),
    [],
  )
})

test('while two releases run, both have the assets of both; a third has those of the second alone', async (context) => {
  const { directory, source } = fixture(context)
  const assets = ['public/assets', 'logo.svg']
  const manifests = ['1', '2', '3'].map((n) =>
    source.manifest({
      [`public/assets/js/app-${n}.js`]: `app ${n}`,
      'public/assets/plain.css': `css ${n}`,
      [`other-${n}`]: n,
      ...(n === '2' ? { 'logo.svg': '<svg/>' } : {}),
    }),
  )
  const stage = (number: number) => source.stage(directory, number, manifests[number - 1]!, { assets })
  const has = (number: number) => tree(directory.releasePath(number)).filter((path) => /\.(js|svg)$/.test(path))
  await stage(1)
  directory.switchTo(1)
  await stage(2)
  assert.deepEqual(has(1), ['logo.svg', 'public/assets/js/app-1.js', 'public/assets/js/app-2.js'])
  assert.deepEqual(has(2), ['logo.svg', 'public/assets/js/app-1.js', 'public/assets/js/app-2.js'])
  for (const number of [1, 2])
    assert.equal(readFileSync(join(directory.releasePath(number), 'public/assets/plain.css'), 'utf8'), `css ${number}`)
  assert.equal(existsSync(join(directory.releasePath(1), 'other-2')), false)
  directory.switchTo(2)
  directory.collect(2, [1])
  await stage(3)
  assert.deepEqual(has(3), ['logo.svg', 'public/assets/js/app-2.js', 'public/assets/js/app-3.js'])
  await stage(1)
  assert.deepEqual(
    has(1),
    ['logo.svg', 'public/assets/js/app-1.js', 'public/assets/js/app-2.js'],
    'going back: those of what serves, no longer those of what was meant to',
  )
})

test('assets stay out where they cannot stand, and one that was written to is left behind', async (context) => {
  const { directory, source } = fixture(context)
  const assets = ['a']
  const first = source.manifest({
    'a/now-a-link/x': 'x',
    'a/now-a-file/x': 'x',
    'a/written': 'as shipped',
    'a/kept': 'kept',
  })
  const second = source.manifest({
    'a/now-a-link': { link: '../elsewhere' },
    elsewhere: null,
    'a/now-a-file': 'file',
    'a/kept-not': 'new',
  })
  await source.stage(directory, 1, first, { assets })
  directory.switchTo(1)
  chmodSync(join(directory.releasePath(1), 'a/written'), 0o644)
  appendFileSync(join(directory.releasePath(1), 'a/written'), '!')
  await source.stage(directory, 2, second, { assets })
  assert.deepEqual(tree(join(directory.releasePath(2), 'a')), ['kept', 'kept-not', 'now-a-file', 'now-a-link'])
  assert.ok(existsSync(join(directory.releasePath(1), 'a/kept-not')))
  assert.deepEqual(readdirSync(join(directory.releasePath(2), 'elsewhere')), [])
})

test('a release directory stays below its root', (context) => {
  const { root } = fixture(context)
  for (const directory of ['/', '/../etc', '/srv/../../etc', '/srv/..'])
    assert.throws(() => new ApplicationDirectory(root, directory), { code: 'path.unsafe' }, directory)
})

test('20,000 files: built once, then recycled for the price of the difference', async (context) => {
  const { directory, source } = fixture(context)
  const files = (change: string) =>
    Object.fromEntries(
      Array.from({ length: 20_000 }, (_, n) => [`d${n % 500}/f${n}`, n === 77 ? change : `content ${n % 18_500}`]),
    )
  const manifests = ['one', 'two', 'three'].map((change) => source.manifest(files(change)))
  const timed = async (number: number, from: Manifest | null) => {
    const staged = await source.stage(directory, number, manifests[number - 1]!, { from })
    directory.switchTo(number)
    return staged.spans.find(({ name }) => name === 'unpack')!
  }
  const built = await timed(1, null)
  directory.prepareSpare()
  const recycled = await timed(2, manifests[0]!)
  context.diagnostic(
    `built in ${Math.round(built.end - built.start)} ms, recycled in ${Math.round(recycled.end - recycled.start)} ms`,
  )
  assert.ok(recycled.end - recycled.start < built.end - built.start)
  assert.equal(lstatSync(join(directory.releasePath(2), 'd77/f77')).size, 3)
})
