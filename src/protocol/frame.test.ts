import assert from 'node:assert/strict'
import { test } from 'node:test'
import { decodeFrame, encodeFrame, FrameReader, maxBodyBytes } from './frame.ts'

test('a frame is read back as it was written', () => {
  const frame = decodeFrame(encodeFrame({ text: 'grüße\n' }, Buffer.from([0, 1, 255])))
  assert.deepEqual(frame.head, { text: 'grüße\n' })
  assert.deepEqual([...frame.body], [0, 1, 255])
})

test('a stream is cut into its frames wherever its chunks end', () => {
  const bytes = Buffer.concat([
    encodeFrame({ n: 1 }),
    encodeFrame({ n: 2 }, Buffer.alloc(5000, 7)),
    encodeFrame({ n: 3 }),
  ])
  for (const size of [1, 3, 7, 64, 4096, bytes.length]) {
    const reader = new FrameReader()
    const heads: unknown[] = []
    for (let start = 0; start < bytes.length; start += size)
      for (const frame of reader.push(bytes.subarray(start, start + size))) heads.push(frame.head)
    assert.deepEqual(heads, [{ n: 1 }, { n: 2 }, { n: 3 }], `chunks of ${size}`)
  }
})

test('garbage, lengths that do not fit and frames over the limit are refused', () => {
  assert.throws(() => decodeFrame(Buffer.from('GET / HTTP/1.1\r\n\r\n')), { code: 'protocol.invalid' })
  assert.throws(() => new FrameReader().push(Buffer.from('GET / HTTP/1.1\r\n')), { code: 'protocol.invalid' })
  assert.throws(() => encodeFrame({}, Buffer.alloc(maxBodyBytes + 1)), { code: 'protocol.invalid' })
  const announced = Buffer.alloc(8)
  announced.writeUInt32BE(100 * 1024 * 1024, 0)
  assert.throws(() => new FrameReader().push(announced), { code: 'protocol.invalid' })
  const notJson = encodeFrame({})
  notJson[8] = 0x7b
  notJson[9] = 0x7b
  assert.throws(() => decodeFrame(notJson), { code: 'protocol.invalid' })
})
