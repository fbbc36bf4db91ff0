import assert from 'node:assert/strict'
import { test } from 'node:test'
import { bytesOf, TextPieces } from './text-pieces.ts'

const whole = Buffer.concat([Buffer.from('aä€😀\n'), Buffer.from([0xff, 0xc3]), Buffer.from('end ä')])

test('bytes come out as they went in, however they are cut', () => {
  for (let cut = 0; cut <= whole.length; cut++) {
    const pieces = new TextPieces()
    const out = [...pieces.push(whole.subarray(0, cut)), ...pieces.push(whole.subarray(cut)), ...pieces.end()]
    assert.deepEqual(Buffer.concat(out.map(bytesOf)), whole, `cut at ${cut}`)
  }
})

test('a character that is cut in two stays text', () => {
  const bytes = Buffer.from('aä€😀')
  const pieces = new TextPieces()
  const out = [...bytes].flatMap((byte) => pieces.push(Buffer.from([byte]))).concat(pieces.end())
  assert.ok(out.every((piece) => 'text' in piece))
  assert.equal(out.map((piece) => ('text' in piece ? piece.text : '')).join(''), 'aä€😀')
})

test('what is not UTF-8 comes in base64, also a beginning that never goes on', () => {
  const pieces = new TextPieces()
  assert.deepEqual(pieces.push(Buffer.from([0xff, 0xfe])), [{ base64: '//4=' }])
  assert.deepEqual(pieces.push(Buffer.from([0xe2, 0x82])), [])
  assert.deepEqual(pieces.end(), [{ base64: '4oI=' }])
})
