import assert from 'node:assert/strict'
import { test } from 'node:test'
import { LogStore, type LogFilter, type LogLine } from './log-store.ts'

const line = (seq: number, more: Partial<LogLine> = {}): LogLine => ({
  seq,
  at: seq,
  server: null,
  kind: 'output',
  source: null,
  text: `line ${seq}`,
  tone: 'plain',
  ...more,
})
const all: LogFilter = { server: null, kind: null, source: null, text: '' }

test('lines are shown of one server, one kind, one command, or that have a text; and new ones join them', () => {
  const log = new LogStore()
  log.add(line(1, { source: 'build' }))
  log.add(line(2, { server: 'web1', source: 'after_stage' }))
  log.add(line(3, { server: 'web2', source: 'after_stage' }))
  log.add(line(4, { server: 'web1', kind: 'step' }))
  const seen = (filter: Partial<LogFilter>) => log.shown({ ...all, ...filter }).map(({ seq }) => seq)
  assert.deepEqual(seen({}), [1, 2, 3, 4])
  assert.deepEqual(seen({ source: 'after_stage' }), [2, 3])
  assert.deepEqual(seen({ source: 'after_stage', server: 'web1' }), [2])
  log.add(line(5, { server: 'web1', source: 'after_stage' }))
  assert.deepEqual(seen({ source: 'after_stage', server: 'web1' }), [2, 5])
  assert.deepEqual(seen({ kind: 'step' }), [4])
  assert.deepEqual(seen({ text: 'LINE 3' }), [3])
  assert.deepEqual([...log.sources], ['build', 'after_stage'])
})
