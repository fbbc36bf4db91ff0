import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { PassThrough } from 'node:stream'
import { test } from 'node:test'
import { streamCarrier } from '../protocol/stream-carrier.ts'
import { EarlyStream } from './early-stream.ts'
import { LastingStreams, makePipes } from './lasting.ts'

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

test('many frames that are sent at once go through a pipe with a name, whatever its buffers hold', async () => {
  const directory = mkdtempSync(join(tmpdir(), 'dploy-early-'))
  const created = LastingStreams.create((await makePipes(directory))!, (stdio) => spawn('cat', [], { stdio }))!
  const { streams, started } = created
  try {
    const outgoing = new EarlyStream()
    outgoing.attach(streams.stdin)
    outgoing.settle(false)
    const carrier = streamCarrier(streams.stdout, outgoing)
    const KB = 1024
    const sizes = [0, 1, 64, 128, 256, 1024].flatMap((kb) => [kb * KB - 1, kb * KB, kb * KB + 1]).filter((n) => n >= 0)
    const back: number[] = []
    const all = Promise.withResolvers<void>()
    carrier.onFrame = (_, body) => {
      back.push(body.length)
      if (back.length === 5 * sizes.length) all.resolve()
    }
    const limit = setTimeout(() => all.reject(new Error(`only ${back.length} frames came back`)), 20_000)
    const sent = [1, 2, 3, 4, 5].flatMap(() => sizes).map((size) => carrier.send({}, Buffer.alloc(size, 7)))
    await Promise.race([Promise.all([...sent, all.promise]), all.promise])
    clearTimeout(limit)
    assert.deepEqual(
      back,
      [1, 2, 3, 4, 5].flatMap(() => sizes),
    )
  } finally {
    const exit = once(started, 'exit')
    streams.close()
    started.kill()
    await exit
    rmSync(directory, { recursive: true })
  }
})
