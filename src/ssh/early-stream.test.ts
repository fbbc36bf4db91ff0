import assert from 'node:assert/strict'
import { PassThrough } from 'node:stream'
import { test } from 'node:test'
import { EarlyStream } from './early-stream.ts'

const said = (target: PassThrough) => (target.read() as Buffer | null)?.toString() ?? ''

test('what is written before there is a target goes to it, and to the next one where the first did not see it', () => {
  const stream = new EarlyStream()
  stream.write('hello ')
  const first = new PassThrough()
  stream.attach(first)
  assert.equal(said(first), 'hello ')
  const second = new PassThrough()
  stream.attach(second)
  stream.write('again')
  assert.equal(said(second), 'hello again')
  stream.settle(false)
  stream.write('!')
  assert.equal(said(second), '!')
})

test('what is written while the target is given something else comes after it, whole', () => {
  const stream = new EarlyStream()
  const target = new PassThrough()
  stream.attach(target)
  stream.write('swallowed ')
  stream.hold()
  target.write('\n30 MB, ')
  stream.write('in the middle')
  target.write('30 MB more')
  assert.equal(said(target), 'swallowed \n30 MB, 30 MB more')
  stream.settle(true)
  assert.equal(said(target), 'swallowed in the middle')
})
