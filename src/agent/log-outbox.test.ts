import assert from 'node:assert/strict'
import { appendFileSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import { setTimeout as delay } from 'node:timers/promises'
import { longestLine, LogOutbox } from './log-outbox.ts'
import type { LogLine } from './services/contract.ts'
import { followFile } from './services/log-file.ts'

test('a line as long as a book is sent up to where nobody reads on', () => {
  const sent: LogLine[] = []
  new LogOutbox(async (line) => void sent.push(line)).add({ at: 1, text: 'x'.repeat(20_000_000) })
  assert.deepEqual(sent, [{ at: 1, text: `${'x'.repeat(longestLine)}…` }])
})

test('what comes faster than it is sent is left out, and counted', async () => {
  const sent: string[] = []
  let open: () => void = () => {}
  let gate = new Promise<void>((resolve) => (open = resolve))
  const outbox = new LogOutbox(async ({ text }) => {
    sent.push(text)
    await gate
  })
  for (let line = 0; line < 500; line++) outbox.add({ at: line, text: 'x'.repeat(longestLine) })
  const first = sent.length
  assert.ok(first > 100 && first < 140, `${first} lines`)
  open()
  gate = Promise.resolve()
  await delay(10)
  outbox.add({ at: 500, text: 'last' })
  assert.deepEqual(sent.slice(first), [
    `(dploy) ${500 - first} lines were left out: they come faster than they are sent`,
    'last',
  ])
})

test('what is written without ever ending a line is followed in parts', async () => {
  const directory = mkdtempSync(join(tmpdir(), 'dploy-lines-'))
  try {
    const path = join(directory, 'service.log')
    writeFileSync(path, 'begin\n')
    const stop = new AbortController()
    const lines: string[] = []
    const following = followFile(
      path,
      { lines: 10, follow: true, signal: stop.signal },
      ({ text }) => void lines.push(text),
    )
    for (let part = 0; part < 20; part++) appendFileSync(path, 'x'.repeat(100_000))
    appendFileSync(path, '\nend\n')
    for (const deadline = Date.now() + 5_000; lines.at(-1) !== 'end'; await delay(10))
      assert.ok(Date.now() < deadline, `${lines.length} lines`)
    stop.abort()
    await following
    assert.ok(lines.every((line) => line.length <= 2 * 64 * 1024))
    assert.equal(lines.slice(1, -1).join('').length, 2_000_000)
  } finally {
    rmSync(directory, { recursive: true, force: true })
  }
})
