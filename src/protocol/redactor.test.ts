import assert from 'node:assert/strict'
import { test } from 'node:test'
import { Redactor } from './redactor.ts'

function redactor(...values: string[]): Redactor {
  const made = new Redactor()
  made.know(values)
  return made
}

/** The text as it comes out when it goes in cut at every `size` characters. */
function inPieces(made: Redactor, text: string, size: number): string {
  let out = ''
  for (let at = 0; at < text.length; at += size) out += made.piece('s', text.slice(at, at + size))
  return out + made.flush('s')
}

test('a value is masked wherever the pieces end', () => {
  const text = 'before hunter2-hunter2 hunter2-hunt after hunter2-hunter2'
  for (let size = 1; size <= text.length; size++)
    assert.equal(
      inPieces(redactor('hunter2-hunter2'), text, size),
      'before *** hunter2-hunt after ***',
      `in pieces of ${size}`,
    )
})

test('the longest of values that begin alike is masked, and what only begins like one is shown', () => {
  for (const size of [1, 3, 50])
    assert.equal(
      inPieces(redactor('abcdef', 'abcdef-ghijkl'), 'abcdef-ghijkl abcdef abcde', size).endsWith(' *** abcde'),
      true,
    )
})

test('of a value of several lines each line is masked', () => {
  const made = redactor('-----BEGIN-----\nMIIEvQIBADANBg\n-----END-----\n')
  assert.equal(made.whole('got MIIEvQIBADANBg'), 'got ***')
})

test('values of a few characters are left: they stand in text by chance', () => {
  assert.equal(redactor('80', 'true').whole('port 80 is true'), 'port 80 is true')
})

test('streams do not mix', () => {
  const made = redactor('hunter2-hunter2')
  assert.equal(made.piece('a', 'x hunter2-'), 'x ')
  assert.equal(made.piece('b', 'hunter2'), '')
  assert.equal(made.flush('b'), 'hunter2')
  assert.equal(made.piece('a', 'hunter2!'), '***!')
})
