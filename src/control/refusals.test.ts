import assert from 'node:assert/strict'
import { test } from 'node:test'
import pino from 'pino'
import { Refusals } from './refusals.ts'

test('the first of a kind are told one by one, the rest as a number', () => {
  const lines: { msg: string; times?: number; from?: string }[] = []
  const refusals = new Refusals(
    pino({}, { write: (line: string) => void lines.push(JSON.parse(line) as (typeof lines)[number]) }),
  )
  for (let index = 0; index < 1_000; index++) refusals.note('a join was refused', { from: `192.0.2.${index}` })
  refusals.note('what is no HTTP was refused', { from: '192.0.2.1' })
  assert.equal(lines.filter(({ msg }) => msg === 'a join was refused').length, 50)
  assert.equal(lines.filter(({ msg }) => msg === 'what is no HTTP was refused').length, 1)
  refusals[Symbol.dispose]()
  assert.deepEqual(
    lines.slice(51).map(({ msg, times }) => [msg, times]),
    [['a join was refused: more of them within a minute', 950]],
  )
})
