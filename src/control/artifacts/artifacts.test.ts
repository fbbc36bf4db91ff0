import assert from 'node:assert/strict'
import { createHash } from 'node:crypto'
import { existsSync, readdirSync, rmSync, statSync, truncateSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'node:test'
import { zstdCompressSync } from 'node:zlib'
import { makeManifest } from '../../protocol/manifest.ts'
import { packHeader } from '../../protocol/pack.ts'
import type { RawTreeItem } from '../sources/temporary-repository.ts'
import { TemporaryArtifacts } from './temporary-artifacts.ts'

const digestOf = (content: string | Uint8Array) => createHash('sha256').update(content).digest('hex')

test('an artifact has the files of the commit, with their bits, links and contents', async () => {
  using world = new TemporaryArtifacts()
  const { repository } = world
  const bytes = Uint8Array.from({ length: 300_000 }, (_, index) => (index * 7) % 256)
  repository.write('bin/start', '#!/bin/sh\n', 0o755)
  repository.git(['config', 'core.symlinks', 'true'])
  repository.commit({ empty: '', bytes: bytes, 'same/1': 'x', 'same/2': 'x', 'a\nb "c" \\ ü': 'odd' })
  const link = repository.blob('../same/1')
  repository.git(['update-index', '--add', '--cacheinfo', `120000,${link},bin/link`])
  repository.git(['commit', '--quiet', '--message', 'a link'])
  const built = await world.build()
  assert.deepEqual(world.entries(built), [
    { kind: 'file', path: 'a\nb "c" \\ ü', executable: false, size: 3, digest: digestOf('odd') },
    { kind: 'link', path: 'bin/link', target: '../same/1' },
    { kind: 'file', path: 'bin/start', executable: true, size: 10, digest: digestOf('#!/bin/sh\n') },
    { kind: 'file', path: 'bytes', executable: false, size: 300_000, digest: digestOf(bytes) },
    { kind: 'file', path: 'empty', executable: false, size: 0, digest: digestOf('') },
    { kind: 'file', path: 'same/1', executable: false, size: 1, digest: digestOf('x') },
    { kind: 'file', path: 'same/2', executable: false, size: 1, digest: digestOf('x') },
  ])
  assert.equal(built.read, 5, 'equal contents are read once')
  assert.ok(await world.artifacts.has(built.artifact))
})

test('the digest is the same in another place, at another time, by another commit of the same files', async () => {
  using one = new TemporaryArtifacts()
  using other = new TemporaryArtifacts()
  one.repository.commit({ b: '2', 'a/c': '1', 'a-b': '3', 'a.b': '4' })
  for (const [path, content] of Object.entries({ 'a.b': '4', 'a-b': '3', 'a/c': '1', b: '2', gone: 'x' }))
    other.repository.commit({ [path]: content })
  other.repository.git(['rm', '--quiet', 'gone'])
  other.repository.commit()
  const [a, b] = [await one.build(), await other.build()]
  assert.equal(a.artifact, b.artifact)
  const again = makeManifest([...one.entries(a)].reverse())
  assert.equal(again.digest, a.artifact)
})

test('of 20,000 files only the one that changed is read again, also after a restart, and only its blob', async () => {
  using world = new TemporaryArtifacts()
  const { repository } = world
  const stream: string[] = ['commit refs/heads/main\ncommitter Anna <anna@example.org> 1700000000 +0000\ndata 1\nx\n']
  for (let index = 0; index < 20_000; index++)
    stream.push(`M 100644 inline folder-${index % 100}/file-${index}\ndata ${String(index).length}\n${index}\n`)
  repository.git(['fast-import', '--quiet'], stream.join(''))
  assert.equal((await world.build()).read, 20_000)
  repository.git(['reset', '--quiet', '--hard'])
  repository.commit({ 'folder-7/file-107': 'changed' })
  world.reopen()
  const changed = await world.build()
  assert.equal(changed.read, 1)
  assert.equal(world.text(changed, 'folder-7/file-107'), 'changed')
  assert.equal(world.entries(changed).length, 20_000)
  // Another selection of the same files knows them by their git ids.
  assert.equal((await world.build(world.config({ leave_out: ['folder-1'] }))).read, 0)
})

test('a changed file of equal size is noticed', async () => {
  using world = new TemporaryArtifacts()
  world.repository.commit({ a: '1111' })
  const before = await world.build()
  world.repository.commit({ a: '2222' })
  const after = await world.build()
  assert.notEqual(after.artifact, before.artifact)
  assert.equal(world.text(after, 'a'), '2222')
})

test('the same tree by the same definition is not made again; another tree, selection or application is', async () => {
  using world = new TemporaryArtifacts()
  world.repository.commit({ a: '1', b: '2' })
  const first = await world.build()
  assert.equal(first.cached, false)
  assert.deepEqual(await world.build(), { artifact: first.artifact, cached: true, read: 0 })
  world.repository.commit({}, 'nothing changed')
  assert.equal((await world.build()).cached, true)
  world.reopen()
  assert.equal((await world.build()).cached, true)
  assert.deepEqual(world.paths(await world.build(world.config({ leave_out: ['b'] }))), ['a'])
  assert.deepEqual(world.paths(await world.build(world.config({ ship: ['b'] }))), ['b'])
})

test('only the folder of a monorepo is shipped, with paths that begin at it', async () => {
  using world = new TemporaryArtifacts()
  world.repository.commit({
    'apps/web/index.html': 'w',
    'apps/web/css/main.css': 'c',
    'apps/api/main': 'a',
    README: 'r',
  })
  const config = (subfolder: string) => world.config({}, { source: { repository: world.repository.path, subfolder } })
  assert.deepEqual(world.paths(await world.build(config('apps/web'))), ['css/main.css', 'index.html'])
  assert.deepEqual(world.paths(await world.build(config('./apps/api/'))), ['main'])
  assert.equal(world.paths(await world.build(config('.'))).length, 4)
  await assert.rejects(world.build(config('apps/none')), {
    code: 'source.revision_unknown',
    message: /^There is no folder apps\/none in /,
  })
  await assert.rejects(world.build(config('README')), {
    code: 'source.revision_unknown',
    message: /^README in \w+ is no folder$/,
  })
})

test('what is named under ship goes along, what leave_out matches does not, at any depth and whatever its name', async () => {
  using world = new TemporaryArtifacts()
  const files = [
    'dist/app.js',
    'dist/app.js.map',
    'dist/.hidden/x',
    'dist/a\nb/x.map',
    'distant/x',
    'package.json',
    'src/x.ts',
    'test/deep/x',
    'dist/test/x',
    '.dploy/x',
    '.env',
    'dist/[x]',
    'dist/-x',
  ]
  world.repository.commit(Object.fromEntries(files.map((path) => [path, path])))
  const shipped = async (build: Record<string, unknown>) => world.paths(await world.build(world.config(build)))
  assert.deepEqual(await shipped({ ship: ['dist/', './package.json'], leave_out: ['*.map', 'test'] }), [
    'dist/-x',
    'dist/.hidden/x',
    'dist/[x]',
    'dist/app.js',
    'package.json',
  ])
  assert.deepEqual(await shipped({ ship: ['dist/app.js'] }), ['dist/app.js'])
  assert.deepEqual(await shipped({ ship: ['.'], leave_out: ['/test', 'dist/**', '.*'] }), [
    'distant/x',
    'package.json',
    'src/x.ts',
  ])
  assert.deepEqual(await shipped({ leave_out: ['**/*.{js,map}', 'src/', '[.]env', '?ist*/**'] }), [
    'package.json',
    'test/deep/x',
  ])
  await assert.rejects(world.build(world.config({ leave_out: ['**'] })), { code: 'build.nothing_to_ship' })
  await assert.rejects(world.build(world.config({ ship: ['nothing'] })), { code: 'build.nothing_to_ship' })
})

/** Trees that git itself would not make, and what is said of them. */
const hostile: [
  name: string,
  tree: (world: TemporaryArtifacts, blob: string) => RawTreeItem[],
  code: string | null,
  codeOfBuild?: string | null,
][] = [
  ['a name that leads up', (_, oid) => [{ mode: '100644', name: '..', oid }], 'source.unsafe'],
  [
    'a folder that leads up',
    ({ repository }, oid) => [
      { mode: '40000', name: '..', oid: repository.tree([{ mode: '100644', name: 'PWNED', oid }]) },
    ],
    'source.unsafe',
  ],
  ['a path that leads up', (_, oid) => [{ mode: '100644', name: '../../PWNED', oid }], 'source.unsafe'],
  ['an absolute path', (_, oid) => [{ mode: '100644', name: '/tmp/PWNED', oid }], 'source.unsafe'],
  ['a name of 256 bytes', (_, oid) => [{ mode: '100644', name: 'x'.repeat(256), oid }], 'source.unsafe'],
  ['a name that is not UTF-8', (_, oid) => [{ mode: '100644', name: Buffer.of(0xff), oid }], 'source.unsafe'],
  [
    'a name twice',
    (_, oid) => [
      { mode: '100644', name: 'a', oid },
      { mode: '100755', name: 'a', oid },
    ],
    'source.unsafe',
    null,
  ],
  [
    'a link out of the tree',
    ({ repository }) => [{ mode: '120000', name: 'a', oid: repository.blob('../PWNED') }],
    'source.unsafe',
  ],
  [
    'a link out of the tree and in again',
    ({ repository }) => [{ mode: '120000', name: 'a', oid: repository.blob('../x/a') }],
    'source.unsafe',
  ],
  [
    'an absolute link',
    ({ repository }) => [{ mode: '120000', name: 'a', oid: repository.blob('/etc/passwd') }],
    'source.unsafe',
  ],
  ['a link to nothing', ({ repository }) => [{ mode: '120000', name: 'a', oid: repository.blob('') }], 'source.unsafe'],
  [
    'a link that is too long',
    ({ repository }) => [{ mode: '120000', name: 'a', oid: repository.blob('x/'.repeat(3_000)) }],
    'source.unsafe',
  ],
  [
    'a link as large as a disk',
    ({ repository }) => [{ mode: '120000', name: 'a', oid: repository.blob(Buffer.alloc(20_000_000, 'x')) }],
    'source.unsafe',
  ],
  [
    'a link with a NUL',
    ({ repository }) => [{ mode: '120000', name: 'a', oid: repository.blob('a\0b') }],
    'source.unsafe',
  ],
  [
    'a link that is not UTF-8',
    ({ repository }) => [{ mode: '120000', name: 'a', oid: repository.blob(Buffer.of(0xff)) }],
    'source.unsafe',
  ],
  [
    'a file under a link',
    ({ repository }, oid) => [
      { mode: '120000', name: 'a', oid: repository.blob('.') },
      { mode: '40000', name: 'a', oid: repository.tree([{ mode: '100644', name: 'PWNED', oid }]) },
    ],
    'source.unsafe',
    null,
  ],
  ['a submodule', () => [{ mode: '160000', name: 'a', oid: '1'.repeat(40) }], 'source.unsupported'],
  [
    'a git-lfs pointer',
    ({ repository }) => [
      {
        mode: '100644',
        name: 'a',
        oid: repository.blob(`version https://git-lfs.github.com/spec/v1\noid sha256:${'1'.repeat(64)}\nsize 12345\n`),
      },
    ],
    'source.unsupported',
  ],
  [
    'a .git with a hook',
    ({ repository }, oid) => [
      { mode: '40000', name: '.git', oid: repository.tree([{ mode: '100755', name: 'post-checkout', oid }]) },
      { mode: '100644', name: 'a', oid },
    ],
    null,
    'source.unsafe',
  ],
  [
    'a .GIT',
    ({ repository }, oid) => [
      { mode: '40000', name: '.GIT', oid: repository.tree([{ mode: '100755', name: 'config', oid }]) },
      { mode: '100644', name: 'a', oid },
    ],
    null,
    'source.unsafe',
  ],
  [
    'links within the tree, also to each other and to nothing',
    ({ repository }) => [
      { mode: '120000', name: 'a', oid: repository.blob('b') },
      { mode: '120000', name: 'b', oid: repository.blob('a') },
      { mode: '120000', name: 'c', oid: repository.blob('./nothing/../x') },
    ],
    null,
  ],
  [
    'names of 255 bytes, with newlines, quotes and backslashes',
    (_, oid) => ['\n', '"', "'", '\\', 'x'.repeat(255)].map((name) => ({ mode: '100644', name, oid })),
    null,
  ],
]

for (const [name, items, codeOfTree, codeOfBuild = codeOfTree] of hostile) {
  for (const way of ['straight from git', 'as a change', 'through a build'] as const) {
    const code = way === 'through a build' ? codeOfBuild : codeOfTree
    test(`a tree with ${name}, ${way}, ${code === null ? 'works' : `is refused with ${code}`}, and nothing is written elsewhere`, async () => {
      using world = new TemporaryArtifacts()
      const { repository } = world
      if (way === 'as a change') {
        repository.commit({ before: 'x' })
        await world.build()
      }
      repository.commitTree(repository.tree(items(world, repository.blob('content'))))
      const config = world.config(way === 'through a build' ? { command: 'true' } : {})
      if (code === null) {
        const built = await world.build(config)
        assert.ok(world.paths(built).every((path) => !path.split('/').includes('.git')))
        assert.ok(await world.artifacts.has(built.artifact))
      } else {
        await assert.rejects(world.build(config), { code })
      }
      assert.deepEqual(readdirSync(repository.top).sort(), ['data', 'repository'])
      assert.ok(!existsSync('/tmp/PWNED') && !existsSync(join(world.data, 'PWNED')))
      if (existsSync(join(world.data, 'builds'))) assert.deepEqual(readdirSync(join(world.data, 'builds')), [])
      assert.deepEqual(readdirSync(join(world.data, 'objects/new')), [])
    })
  }
}

test('a git-lfs pointer that is left out harms nobody', async () => {
  using world = new TemporaryArtifacts()
  const pointer = `version https://git-lfs.github.com/spec/v1\noid sha256:${'1'.repeat(64)}\nsize 12345\n`
  world.repository.commit({
    'a.psd': pointer,
    b: `${pointer}${'x'.repeat(2_000)}`,
    c: 'version https://git-lfs.github.com/specification',
  })
  assert.deepEqual(world.paths(await world.build(world.config({ leave_out: ['*.psd'] }))), ['b', 'c'])
  assert.deepEqual(world.paths(await world.build(world.config({ leave_out: ['*.psd'], command: 'true' }))), ['b', 'c'])
  await assert.rejects(world.build(world.config({ command: 'true' })), {
    code: 'source.unsupported',
    where: 'a.psd',
    message: /"a\.psd" is a git-lfs pointer/,
  })
  await assert.rejects(world.build(), { code: 'source.unsupported', where: 'a.psd' })
})

test('thousands of links are read at once', async () => {
  using world = new TemporaryArtifacts()
  const { repository } = world
  const stream = ['commit refs/heads/main\ncommitter Anna <anna@example.org> 1700000000 +0000\ndata 1\nx\n']
  for (let index = 0; index < 3_000; index++)
    stream.push(`M 120000 inline l${index}\ndata ${`t/${index}`.length}\nt/${index}\n`)
  repository.git(['fast-import', '--quiet'], stream.join(''))
  const began = performance.now()
  const built = await world.build()
  const ms = performance.now() - began
  assert.deepEqual(world.entries(built)[1_500], {
    kind: 'link',
    path: world.paths(built)[1_500],
    target: `t/${world.paths(built)[1_500]!.slice(1)}`,
  })
  assert.ok(ms < 5_000, `${ms} ms: one process for each link would take longer`)
})

test('a stored object that lost bytes is read again, and a manifest that is damaged is made again', async () => {
  using world = new TemporaryArtifacts()
  world.repository.commit({ a: 'some content', b: 'other' })
  const built = await world.build()
  truncateSync(world.artifacts.store.path(digestOf('some content')), 3)
  assert.equal(await world.artifacts.has(built.artifact), false)
  const again = await world.build()
  assert.deepEqual(again, { artifact: built.artifact, cached: false, read: 1 })
  assert.equal(world.text(again, 'a'), 'some content')

  for (const damage of ['nonsense', '', `f\t1\t${'1'.repeat(64)}\ta\0`]) {
    writeFileSync(join(world.data, 'manifests', built.artifact), damage)
    world.reopen()
    assert.equal((await world.build()).artifact, built.artifact)
    world.reopen()
    assert.ok(await world.artifacts.has(built.artifact))
    assert.equal((await world.build()).cached, true)
  }
})

test('a mirror that was removed, or lost a blob, is named', async () => {
  using world = new TemporaryArtifacts()
  world.repository.commit({ a: 'some content' })
  const config = world.config()
  const revision = await world.artifacts.resolve(config, null, null, null, world.signal)
  const mirror = join(world.data, 'mirrors', readdirSync(join(world.data, 'mirrors'))[0]!)
  const oid = world.repository.blob('some content')
  rmSync(join(mirror, 'objects', oid.slice(0, 2), oid.slice(2)))
  await assert.rejects(world.build(config, revision.commit), { code: 'source.unreachable', fix: /Remove the mirror/ })
  rmSync(mirror, { recursive: true })
  assert.equal((await world.build(config, revision.commit)).read, 1)
})

test('an upload is taken once it is whole, and what is cut, false or no pack at all leaves nothing', async () => {
  using world = new TemporaryArtifacts()
  const content = Buffer.from('uploaded')
  const digest = digestOf(content)
  const manifest = makeManifest([{ kind: 'file', path: 'a', executable: false, size: content.length, digest }])
  const object = (name: string, body: Buffer, size = body.length) =>
    Buffer.concat([packHeader({ digest: name, size, time: 1 }), body])
  const upload = (bytes: Buffer) =>
    world.artifacts.receive(
      (async function* () {
        yield bytes
      })(),
    )
  const nothing = () => assert.deepEqual(readdirSync(join(world.data, 'objects/new')), [])
  const open = () => readdirSync('/proc/self/fd').length

  assert.deepEqual(await world.artifacts.offer(manifest), [digest])
  const before = open()
  for (const bytes of [
    object(digest, content).subarray(0, 50),
    object(digest, content, 9_000),
    object(digest, content).subarray(0, 20),
  ]) {
    await assert.rejects(upload(zstdCompressSync(bytes)), { code: 'protocol.invalid' })
    nothing()
  }
  await assert.rejects(upload(zstdCompressSync(object(digest, content)).subarray(0, -3)), { code: 'protocol.invalid' })
  await assert.rejects(upload(Buffer.from('no pack')), { code: 'protocol.invalid' })
  await assert.rejects(upload(zstdCompressSync(object(digest, Buffer.from('somebody')))), { code: 'object.corrupt' })
  await assert.rejects(
    world.artifacts.receive(
      (async function* () {
        yield zstdCompressSync(object(digest, content)).subarray(0, 10)
        throw new Error('the connection ended')
      })(),
    ),
    /the connection ended/,
  )
  nothing()
  assert.ok(open() <= before, 'no file stays open')
  assert.deepEqual(await world.artifacts.offer(manifest), [digest])
  assert.equal(await world.artifacts.has(manifest.digest), false)

  assert.equal(await upload(zstdCompressSync(object(digest, content))), 1)
  assert.deepEqual(await world.artifacts.offer(manifest), [])
  assert.ok(await world.artifacts.has(manifest.digest))
  assert.equal(statSync(world.artifacts.store.path(digest)).size, content.length)
})
