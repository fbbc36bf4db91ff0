import assert from 'node:assert/strict'
import { test } from 'node:test'
import { timeInLine, viewLogs, type LogViewOptions } from './log-view.ts'
import type { LogLine } from './services/contract.ts'

const lines = (count: number): LogLine[] =>
  Array.from({ length: count }, (_, index) => ({
    at: 1_000 + index,
    text: `${index % 10 === 0 ? 'Error' : 'info'} ${index}`,
  }))

async function seen(options: Partial<LogViewOptions>, given: LogLine[]): Promise<string[]> {
  const out: string[] = []
  const manager = { logs: async (_: unknown, onLine: (line: LogLine) => void) => given.forEach(onLine) }
  await viewLogs(
    manager,
    { lines: 3, follow: false, since: null, grep: null, signal: new AbortController().signal, ...options },
    (line) => out.push(line.text),
  )
  return out
}

test('the last lines that contain a text are shown, however far back they are', async () => {
  assert.deepEqual(await seen({ grep: 'error' }, lines(100)), ['Error 70', 'Error 80', 'Error 90'])
  assert.deepEqual(await seen({ grep: 'ERROR' }, lines(100)), [], 'with upper case, case matters')
})

test('nothing older than asked for is shown, and what has no time is', async () => {
  assert.deepEqual(await seen({ since: 1_098 }, [{ at: null, text: 'no time' }, ...lines(100)]), [
    'no time',
    'info 98',
    'info 99',
  ])
})

test('what comes while it is followed is shown at once, and the lines before it first', async () => {
  const out: string[] = []
  const stop = new AbortController()
  const manager = {
    async logs(_: unknown, onLine: (line: LogLine) => void) {
      lines(30).forEach(onLine)
      assert.deepEqual(out, [])
      onLine({ at: Date.now() + 10, text: 'error now' })
      assert.deepEqual(out, ['Error 10', 'Error 20', 'error now'])
      onLine({ at: Date.now() + 10, text: 'something else' })
    },
  }
  await viewLogs(manager, { lines: 2, follow: true, since: null, grep: 'error', signal: stop.signal }, (line) =>
    out.push(line.text),
  )
  assert.deepEqual(out, ['Error 10', 'Error 20', 'error now'])
})

test('the time that loggers write at the beginning of a line is known', () => {
  const at = Date.UTC(2026, 10, 24, 0, 10, 11, 123)
  for (const text of [
    '2026-11-24T00:10:11.123Z started',
    '[2026-11-24T00:10:11.123456Z] started',
    '2026-11-24 01:10:11,123 +0100 started',
    `{"level":30,"time":${at},"msg":"x"}`,
    `{"time":"2026-11-24T00:10:11.123Z"}`,
  ]) {
    assert.equal(timeInLine(text), at, text)
  }
  for (const text of ['started', '2026 is here', '', '12:00:00 x']) assert.equal(timeInLine(text), null, text)
})
