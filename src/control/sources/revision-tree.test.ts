import assert from 'node:assert/strict'
import { test } from 'node:test'
import { TemporaryRepository } from './temporary-repository.ts'
import { treeChanges, treeItems, treeOf } from './revision-tree.ts'

const signal = AbortSignal.timeout(300_000)

test('a folder of a monorepo is a tree of its own, the same in every commit that leaves it alone', async () => {
  using repository = new TemporaryRepository()
  const first = repository.commit({ 'apps/web/index.html': 'x', 'apps/web/.env': 'y', 'apps/api/main': 'z' })
  const second = repository.commit({ 'apps/api/main': 'changed' })
  const third = repository.commit({ 'apps/web/index.html': 'changed' })
  const web = await treeOf(repository.path, first, 'apps/web', signal)
  assert.equal(await treeOf(repository.path, second, 'apps/web', signal), web)
  assert.notEqual(await treeOf(repository.path, third, 'apps/web', signal), web)
  assert.notEqual(
    await treeOf(repository.path, second, undefined, signal),
    await treeOf(repository.path, first, undefined, signal),
  )
  assert.deepEqual(
    (await treeItems(repository.path, web, signal)).map(({ path }) => path),
    ['.env', 'index.html'],
  )
})

test('the whole repository can be named as a folder, and a folder with a slash or a dot around it', async () => {
  using repository = new TemporaryRepository()
  const commit = repository.commit({ 'apps/web/index.html': 'x' })
  const whole = await treeOf(repository.path, commit, undefined, signal)
  for (const name of ['.', './', '']) assert.equal(await treeOf(repository.path, commit, name, signal), whole, name)
  const web = await treeOf(repository.path, commit, 'apps/web', signal)
  for (const name of ['apps/web/', './apps/web', './apps/web//'])
    assert.equal(await treeOf(repository.path, commit, name, signal), web, name)
})

test('a folder that is not there, is a file, a link or a submodule is refused by name', async () => {
  using repository = new TemporaryRepository()
  const blob = repository.blob('x')
  const commit = repository.commitTree(
    repository.tree([
      { mode: '100644', name: 'file', oid: blob },
      { mode: '120000', name: 'link', oid: repository.blob('/etc') },
      { mode: '160000', name: 'module', oid: '1'.repeat(40) },
    ]),
  )
  for (const name of ['nothing', 'file', 'link', 'module', '../x', '/etc', 'file/x', '--all', ':file', 'a\nb']) {
    await assert.rejects(
      treeOf(repository.path, commit, name, signal),
      { code: 'source.revision_unknown', where: 'source.subfolder' },
      name,
    )
  }
})

test('a commit that is not here is named', async () => {
  using repository = new TemporaryRepository()
  repository.commit()
  await assert.rejects(treeOf(repository.path, '1'.repeat(40), undefined, signal), {
    code: 'source.revision_unknown',
    message: /1{40}/,
  })
  await assert.rejects(
    treeOf(`${repository.path}-gone`, '1'.repeat(40), undefined, signal),
    (error: Error) => !/not installed/.test(error.message),
  )
})

test('a submodule is named, with what to do instead', async () => {
  using repository = new TemporaryRepository()
  const tree = repository.tree([{ mode: '160000', name: 'vendor "x"', oid: '1'.repeat(40) }])
  await assert.rejects(treeItems(repository.path, tree, signal), {
    code: 'source.unsupported',
    where: 'vendor "x"',
    message: '"vendor \\"x\\"" is a submodule, which dploy does not fetch',
  })
})

const names = [
  'a\nb',
  'tab\there',
  `quote's "double"`,
  'back\\slash',
  '\\',
  ' ',
  ' x ',
  '-',
  '--all',
  ':x',
  ':(exclude)x',
  ':!x',
  ':/x',
  ':(top,glob)**',
  '*',
  '?',
  '[x]',
  '\u{1b}[31m',
  '\x01',
  'ü',
  'u\u0308',
  '日本語',
  '🚀',
  'x'.repeat(255),
  'ü'.repeat(127),
  '.x',
  '..x',
  'x..',
  '...',
  '.gitx',
  '.dployx',
  '#x',
  '~',
  '$(x)',
  '`x`',
  'a;b',
  'con',
  'x ',
]

test('names with anything but NUL and slash are read as they are, also as changes', async () => {
  using repository = new TemporaryRepository()
  const sorted = names.map((name) => Buffer.from(name)).sort(Buffer.compare)
  const before = repository.tree(sorted.map((name) => ({ mode: '100644', name, oid: repository.blob('before') })))
  const blobs = new Map(sorted.map((name) => [name.toString(), repository.blob(`after ${name.toString()}`)]))
  const after = repository.tree(sorted.map((name) => ({ mode: '100755', name, oid: blobs.get(name.toString())! })))
  const items = await treeItems(repository.path, after, signal)
  assert.deepEqual(
    items.map(({ path }) => path),
    sorted.map(String),
  )
  for (const { path, oid, executable, kind } of items)
    assert.deepEqual([oid, executable, kind], [blobs.get(path), true, 'file'], path)
  assert.deepEqual(await treeChanges(repository.path, before, after, signal), { removed: [], items })
  for (const name of sorted) {
    const one = repository.tree(
      sorted.map((other) =>
        other === name
          ? { mode: '100644', name: other, oid: repository.blob('one') }
          : { mode: '100755', name: other, oid: blobs.get(other.toString())! },
      ),
    )
    const changes = await treeChanges(repository.path, after, one, signal)
    assert.deepEqual(
      changes?.items.map(({ path, executable }) => [path, executable]),
      [[name.toString(), false]],
      name.toString(),
    )
  }
})

for (const [why, name] of [
  ['leads up', '..'],
  ['is a dot', '.'],
  ['leads up further on', 'a/../../x'],
  ['is absolute', '/etc/passwd'],
  ['is empty', ''],
  ['has an empty segment', 'a//b'],
  ['is longer than 255 bytes', 'x'.repeat(256)],
  ['is longer than an argument may be', 'x'.repeat(200_000)],
] as const) {
  test(`a name that ${why} is refused, also as a change and in a folder`, async () => {
    using repository = new TemporaryRepository()
    const oid = repository.blob('x')
    const inside = repository.tree([{ mode: '100644', name, oid }])
    const folder = repository.tree([{ mode: '40000', name: 'folder', oid: inside }])
    const asFolder = repository.tree([
      { mode: '40000', name, oid: repository.tree([{ mode: '100644', name: 'file', oid }]) },
    ])
    const before = repository.tree([{ mode: '100644', name: 'before', oid }])
    for (const tree of [inside, folder, asFolder]) {
      await assert.rejects(treeItems(repository.path, tree, signal), { code: 'source.unsafe' })
      // git does not read a tree with an empty name.
      if (name === '') assert.equal(await treeChanges(repository.path, before, tree, signal), null)
      else await assert.rejects(treeChanges(repository.path, before, tree, signal), { code: 'source.unsafe' })
    }
  })
}

test('a name that is not UTF-8 is refused, also as a change', async () => {
  using repository = new TemporaryRepository()
  const oid = repository.blob('x')
  const tree = repository.tree([{ mode: '100644', name: Buffer.from('caf\xe9', 'latin1'), oid }])
  await assert.rejects(treeItems(repository.path, tree, signal), {
    code: 'source.unsafe',
    message: 'The file name "café" is not valid UTF-8',
  })
  await assert.rejects(treeChanges(repository.path, repository.tree([]), tree, signal), { code: 'source.unsafe' })
})

test('a change of everything is listed, and a tree that is gone is not', async () => {
  using repository = new TemporaryRepository()
  const empty = repository.tree([])
  const oid = repository.blob('four')
  const many = repository.tree(
    Array.from(
      { length: 2_000 },
      (_, index) => ({ mode: '100644', name: `${String(index).padStart(4, '0')}-${'x'.repeat(240)}`, oid }) as const,
    ),
  )
  const changes = await treeChanges(repository.path, empty, many, signal)
  assert.equal(changes?.items.length, 2_000)
  assert.ok(changes.items.every(({ size }) => size === 4))
  assert.equal((await treeChanges(repository.path, many, empty, signal))?.removed.length, 2_000)
  assert.equal(await treeChanges(repository.path, '1'.repeat(40), empty, signal), null)
})

test('a file of an old odd mode is a file', async () => {
  using repository = new TemporaryRepository()
  const tree = repository.tree([{ mode: '100664' as '100644', name: 'x', oid: repository.blob('x') }])
  assert.deepEqual(
    (await treeItems(repository.path, tree, signal)).map(({ kind, executable }) => [kind, executable]),
    [['file', false]],
  )
})
