import assert from 'node:assert/strict'
import { mkdtempSync, readdirSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import { DployError } from '../protocol/errors.ts'
import type { ReleaseSpec } from '../protocol/release-spec.ts'
import { KeptEnvironments } from './kept-environments.ts'
import { silent } from './silent.ts'

const spec = (id: string, number: number): ReleaseSpec => ({
  id,
  number,
  application: 'shop',
  environment: 'production',
  artifact: '0'.repeat(64),
  revision: { commit: null, ref: null, subject: '', author: '', time: 0 },
  directory: '/srv/shop',
  keep: 5,
  shared: [],
  assets: [],
  service: null,
  hooks: {},
  release_command: null,
  variables: {},
  secrets: { TOKEN: 'sec_1', KEY: 'sec_2' },
})

function place() {
  const state = mkdtempSync(join(tmpdir(), 'dploy-kept-'))
  return {
    state,
    kept: new KeptEnvironments(state),
    directory: join(state, 'kept/shop/production'),
    [Symbol.dispose]: () => rmSync(state, { recursive: true, force: true }),
  }
}

test('what is kept is for one user alone, is there for the next agent, and goes with its release', () => {
  using at = place()
  at.kept.keep(spec('rel_1', 1), { TOKEN: 'one', KEY: 'two' })
  at.kept.keep(spec('rel_2', 2), { TOKEN: 'three', KEY: 'four' })
  const mode = (path: string) => (statSync(path).mode & 0o777).toString(8)
  assert.deepEqual([mode(join(at.state, 'kept')), mode(at.directory)], ['700', '700'])
  for (const name of readdirSync(at.directory)) assert.equal(mode(join(at.directory, name)), '600')
  const next = new KeptEnvironments(at.state)
  assert.deepEqual(next.values(spec('rel_2', 2)), { TOKEN: 'three', KEY: 'four' })
  next.prune(spec('rel_2', 2), ['rel_2'])
  assert.deepEqual(readdirSync(at.directory), ['rel_2.json'])
  assert.deepEqual(next.missing(spec('rel_1', 1)), ['TOKEN', 'KEY'])
})

test('values that are not whole are not kept, and a file that is damaged counts as none', () => {
  using at = place()
  const release = spec('rel_1', 1)
  at.kept.keep(release, { TOKEN: 'one' })
  assert.deepEqual(at.kept.missing(release), ['TOKEN', 'KEY'])
  at.kept.keep(release, { TOKEN: 'one', KEY: 'two' })
  at.kept.check(release, {}, 'web1')
  writeFileSync(join(at.directory, 'rel_1.json'), '{"release":"rel_1","sec')
  assert.throws(() => at.kept.check(release, { TOKEN: 'one' }, 'web1'), {
    code: 'secret.missing',
    message: 'Release 1 was made with secrets whose values are neither here nor kept on web1: KEY',
  })
  // What another release was made with is none of this one.
  writeFileSync(
    join(at.directory, 'rel_1.json'),
    JSON.stringify({ release: 'rel_9', secrets: { TOKEN: 'x', KEY: 'y' } }),
  )
  assert.deepEqual(at.kept.values(release), {})
})

test('what only the server knows is in nothing that a command tells', async () => {
  using at = place()
  const release = spec('rel_1', 1)
  at.kept.keep(release, { TOKEN: 'the-token', KEY: 'the-key-of-it' })
  const values = at.kept.unsaid({ release, local: { secrets: { KEY: 'the-key-of-it' } } })
  assert.deepEqual(values, ['the-token'])
  const told: string[] = []
  const step = (event: { text?: string }) => void told.push(event.text ?? '')
  const handler = silent(async (_: unknown, call: { step(event: never): void }) => {
    const output = (text: string) => call.step({ kind: 'output', source: 'hook', stream: 'stdout', text } as never)
    output('it is the-to')
    output('ken, and the-tok')
    call.step({ kind: 'note', text: 'with the-token' } as never)
    throw new DployError('hook.failed', 'It printed the-token')
  }, values)
  await assert.rejects(handler({}, { step }), { code: 'hook.failed', message: 'It printed ***' })
  assert.ok(!told.join('').includes('the-token'), told.join('|'))
  assert.equal(told.join(''), 'it is ***, and with ***the-tok')
})
