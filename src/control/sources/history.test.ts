import assert from 'node:assert/strict'
import { join } from 'node:path'
import { test } from 'node:test'
import { GitMirror } from './git-mirror.ts'
import { filesBetween, namesOf } from './history.ts'
import { TemporaryRepository } from './temporary-repository.ts'

const signal = AbortSignal.timeout(60_000)

test('branches and tags are told with their commits, also tags that are objects of their own', async () => {
  using repository = new TemporaryRepository()
  const first = repository.commit({ a: 'one' }, 'First')
  repository.git(['tag', '--annotate', '--message', 'The tag says this', 'v1'])
  repository.git(['checkout', '--quiet', '-b', 'feature/cart'])
  const second = repository.commit({ a: 'two' }, 'Cart (fix) %00 "quoted"')
  const mirror = new GitMirror(join(repository.top, 'mirrors'), repository.path, null)
  await mirror.fetch(signal)
  const branches = await namesOf(mirror.path, 'heads', signal)
  assert.deepEqual(branches.map(({ name, revision }) => [name, revision.commit, revision.subject]).sort(), [
    ['feature/cart', second, 'Cart (fix) %00 "quoted"'],
    ['main', first, 'First'],
  ])
  const [tag] = await namesOf(mirror.path, 'tags', signal)
  assert.deepEqual(
    [tag?.name, tag?.revision.commit, tag?.revision.subject, tag?.revision.author],
    ['v1', first, 'First', 'Anna'],
  )
})

test('commits are found by a text in their message, whatever it looks like', async () => {
  using repository = new TemporaryRepository()
  repository.commit({ a: 'one' }, 'Fix rounding (50%)')
  const head = repository.commit({ a: 'two' }, '--all of it')
  const mirror = new GitMirror(join(repository.top, 'mirrors'), repository.path, null)
  await mirror.fetch(signal)
  const found = async (text: string) => (await mirror.search(text, head, 10, signal)).map(({ subject }) => subject)
  assert.deepEqual(await found('ROUNDING (5'), ['Fix rounding (50%)'])
  assert.deepEqual(await found('--all'), ['--all of it'])
  assert.deepEqual(await found('.*'), [])
  assert.deepEqual(await found(''), ['--all of it', 'Fix rounding (50%)'])
})

test('the files between two commits are told with what became of them and how large they are', async () => {
  using repository = new TemporaryRepository()
  const from = repository.commit({ 'app/kept': 'x', 'app/changed': 'x', 'app/removed': 'x', outside: 'x' })
  repository.git(['rm', '--quiet', 'app/removed'])
  const to = repository.commit({ 'app/changed': 'longer', 'app/new é\n': '12', outside: 'y' })
  const { path } = new GitMirror(join(repository.top, 'mirrors'), repository.path, null)
  await new GitMirror(join(repository.top, 'mirrors'), repository.path, null).fetch(signal)
  assert.deepEqual(await filesBetween(path, from, to, 'app', signal), {
    count: 3,
    bytes: 8,
    files: [
      { path: 'app/changed', change: 'changed', bytes: 6 },
      { path: 'app/new é\n', change: 'added', bytes: 2 },
      { path: 'app/removed', change: 'removed', bytes: 0 },
    ],
  })
  assert.equal((await filesBetween(path, from, to, undefined, signal)).count, 4)
  assert.equal((await filesBetween(path, to, to, undefined, signal)).count, 0)
})
