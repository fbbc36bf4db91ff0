import assert from 'node:assert/strict'
import { PassThrough } from 'node:stream'
import { test } from 'node:test'
import { setTimeout as delay } from 'node:timers/promises'
import { stripVTControlCharacters } from 'node:util'
import type { Output } from '../output.ts'
import { newProgress } from './progress.ts'
import { answered, onQuestion } from './question.ts'
import { startLive } from './screen.ts'
import { showProgress } from './ssh-progress.ts'

/** What a terminal is given. */
function terminal() {
  const stream = Object.assign(new PassThrough(), {
    isTTY: true,
    columns: 80,
    rows: 24,
  }) as unknown as NodeJS.WriteStream
  let shown = ''
  stream.on('data', (chunk: Buffer) => (shown += chunk.toString()))
  return { stream, since: () => [shown, (shown = '')][0]! }
}

test('while ssh asks something, the picture of a deployment is taken away and nothing is drawn; then it is drawn anew', async () => {
  const { stream, since } = terminal()
  const output = { mode: 'live', color: false, stream, width: () => 80, height: () => 24 } as unknown as Output
  await using _live = startLive(output, newProgress(), 'Deployment 7')
  await delay(200)
  assert.match(stripVTControlCharacters(since()), /Deployment 7/)
  onQuestion(true)
  await delay(0)
  const cleared = since()
  assert.equal(stripVTControlCharacters(cleared).trim(), '')
  assert.ok(cleared.endsWith('\u001b[?25h'), 'the cursor is shown where it is asked')
  const waits = answered()
  await delay(300)
  assert.equal(since(), '')
  onQuestion(false)
  await waits
  await delay(0)
  assert.match(stripVTControlCharacters(since()), /^Deployment 7/)
})

test('while ssh asks something, the line of what servers are given is taken away, and what ended meanwhile does not come back', async () => {
  const { stream, since } = terminal()
  const tell = showProgress(stream)
  tell({ server: 'web1', what: 'gets Node', share: 0.1 })
  tell({ server: 'web2', what: 'gets Node', share: 0.2 })
  await delay(0)
  assert.match(since(), /web1 gets Node 10 % {2}web2 gets Node 20 %$/)
  onQuestion(true)
  await delay(0)
  assert.equal(since(), '\r\u001b[K')
  tell({ server: 'web1', what: 'gets Node', share: 1 })
  tell({ server: 'web2', what: 'gets Node', share: 0.5 })
  await delay(0)
  assert.equal(since(), '')
  onQuestion(false)
  await delay(0)
  assert.equal(since(), '\r\u001b[Kweb2 gets Node 50 %')
})
