import assert from 'node:assert/strict'
import { test } from 'node:test'
import {
  applyDelta,
  decodeDelta,
  decodeManifest,
  diffManifests,
  encodeDelta,
  encodeEntries,
  makeManifest,
  objectsOf,
  type Entry,
} from './manifest.ts'

const digest = (letter: string) => letter.repeat(64)
const file = (path: string, letter = 'a', executable = false): Entry => ({
  kind: 'file',
  path,
  executable,
  size: 3,
  digest: digest(letter),
})

test('names with newlines, tabs, quotes and 255 bytes survive', () => {
  const manifest = makeManifest([
    file('a\nb'),
    file('tab\there'),
    file(`quote's "double" \\ $(x) \`y\``),
    file('ü'.repeat(127) + 'x'),
    { kind: 'link', path: 'link\n', target: 'a\nb' },
    { kind: 'directory', path: 'empty dir' },
    file('--upload-pack=x'),
  ])
  const again = decodeManifest(encodeEntries(manifest.entries))
  assert.deepEqual(again, manifest)
})

test('the digest does not depend on the order of the entries', () => {
  assert.equal(makeManifest([file('b'), file('a')]).digest, makeManifest([file('a'), file('b')]).digest)
})

for (const [path, why] of [
  ['/etc/passwd', 'absolute'],
  ['../x', 'leaves the tree'],
  ['a/../../x', 'leaves the tree'],
  ['a//b', 'has an empty segment'],
  ['./a', 'has a dot segment'],
  ['', 'is empty'],
  ['a\0b', 'has a NUL'],
  ['x'.repeat(256), 'has too long a name'],
  [`${'d/'.repeat(2000)}f`, 'is too long'],
] as const) {
  test(`a path that ${why} is refused: ${JSON.stringify(path.slice(0, 20))}`, () => {
    assert.throws(() => makeManifest([file(path)]), { code: 'source.unsafe' })
  })
}

test('a link out of the tree is refused, one inside is not', () => {
  for (const target of ['/etc', '../x', '../../x', 'b/../../..'])
    assert.throws(() => makeManifest([{ kind: 'link', path: 'a', target }]), { code: 'source.unsafe' }, target)
  makeManifest([{ kind: 'link', path: 'd/a', target: '../b' }])
  assert.throws(() => makeManifest([{ kind: 'link', path: 'd/a', target: '../../b' }]), { code: 'source.unsafe' })
})

test('nothing lies under a file or a link, and no path stands twice', () => {
  assert.throws(() => makeManifest([file('a'), file('a/b')]), { code: 'source.unsafe' })
  assert.throws(() => makeManifest([{ kind: 'link', path: 'a', target: 'b' }, file('a/x/y/z')]), {
    code: 'source.unsafe',
  })
  assert.throws(() => makeManifest([file('a'), file('a-b'), file('a/b')]), { code: 'source.unsafe' })
  assert.throws(() => makeManifest([file('a'), file('a')]), { code: 'source.unsafe' })
})

test('a delta turns one manifest into the other, from nothing too', () => {
  const from = makeManifest([
    file('keep'),
    file('change', 'a'),
    file('mode', 'c'),
    file('gone'),
    { kind: 'link', path: 'l', target: 'keep' },
  ])
  const to = makeManifest([
    file('keep'),
    file('change', 'b'),
    file('mode', 'c', true),
    file('new', 'd'),
    { kind: 'link', path: 'l', target: 'new' },
  ])
  const delta = diffManifests(from, to)
  assert.deepEqual(delta.removed, ['gone'])
  assert.deepEqual(
    delta.changed.map(({ path }) => path),
    ['change', 'l', 'mode', 'new'],
  )
  assert.equal(applyDelta(from, decodeDelta(encodeDelta(delta))).digest, to.digest)
  assert.equal(applyDelta(null, diffManifests(null, to)).digest, to.digest)
  assert.equal(applyDelta(to, diffManifests(to, makeManifest([]))).digest, makeManifest([]).digest)
})

test('what cannot be read is refused', () => {
  for (const text of [
    'f\t3\t00\tx\0',
    'q\tx\0',
    'f\t-1\t' + digest('a') + '\tx\0',
    'l\tx\0',
    'd\tx',
    `f\t1e99\t${digest('a')}\tx\0`,
  ])
    assert.throws(() => decodeManifest(text), { code: 'protocol.invalid' }, text)
})

test('an object that stands under several names counts once', () => {
  assert.equal(objectsOf(makeManifest([file('a'), file('b'), file('c', 'c')])).size, 2)
})
