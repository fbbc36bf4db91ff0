import assert from 'node:assert/strict'
import { createHash } from 'node:crypto'
import { PassThrough } from 'node:stream'
import { describe, test } from 'node:test'
import { zstdCompressSync } from 'node:zlib'
import { makeManifest } from '../protocol/manifest.ts'
import { packHeader, type PackSink } from '../protocol/pack.ts'
import { Peer, type Handler } from '../protocol/peer.ts'
import { streamCarrier } from '../protocol/stream-carrier.ts'
import { fetchManifest, fetchObjects } from './fetch.ts'

const signal = AbortSignal.timeout(20_000)
const digestOf = (content: string) => createHash('sha256').update(content).digest('hex')
const packed = (content: string, size = content.length) =>
  Buffer.concat([packHeader({ digest: digestOf(content), size, time: 1 }), Buffer.from(content)])

/** An agent's end of a connection whose other end answers like this. */
function answering(handlers: Record<string, Handler>): Peer {
  const [there, back] = [new PassThrough(), new PassThrough()]
  void new Peer(streamCarrier(there, back), handlers)
  return new Peer(streamCarrier(back, there), {})
}

/** Takes what comes, and knows how much that was. */
function counting(): PackSink & { begun: number; bytes: number } {
  return {
    begun: 0,
    bytes: 0,
    begin() {
      this.begun++
    },
    data(chunk) {
      this.bytes += chunk.length
    },
    end() {},
  }
}

describe('of what comes as objects', () => {
  const wanted = new Map([[digestOf('one'), 3]])
  const cases: { what: string; pack: Buffer; begun: number }[] = [
    { what: 'one that nobody asked for', pack: packed('other'), begun: 0 },
    { what: 'one that says it is larger than the manifest says', pack: packed('one', 2 ** 40), begun: 0 },
    { what: 'the same one twice', pack: Buffer.concat([packed('one'), packed('one')]), begun: 1 },
  ]
  for (const { what, pack, begun } of cases) {
    test(`${what} is refused, and nothing more is taken`, async () => {
      const sink = counting()
      let ended = false
      const peer = answering({
        objects: async (_params, { emit, signal: cancelled }) => {
          await emit({}, zstdCompressSync(pack))
          // It would go on for ever.
          while (!cancelled.aborted) {
            await emit({}, Buffer.alloc(1_000))
            await new Promise((resolve) => setImmediate(resolve))
          }
          ended = true
        },
      })
      await assert.rejects(fetchObjects(peer, 'rel_1', wanted, sink, signal), { code: 'object.corrupt' })
      for (const deadline = Date.now() + 5_000; !ended; await new Promise((resolve) => setTimeout(resolve, 5)))
        assert.ok(Date.now() < deadline)
      assert.equal(sink.begun, begun)
      assert.ok(sink.bytes <= 3)
      peer.close('over')
    })
  }

  test('what was asked for is taken', async () => {
    const sink = counting()
    const pack = zstdCompressSync(packed('one'))
    const peer = answering({ objects: async (_params, { emit }) => emit({}, pack) })
    assert.deepEqual(await fetchObjects(peer, 'rel_1', wanted, sink, signal), { bytes: pack.length })
    assert.equal(sink.bytes, 3)
    peer.close('over')
  })
})

describe('a manifest', () => {
  test('that would unpack to any size is refused before it fills the memory', async () => {
    const bomb = zstdCompressSync(Buffer.alloc(64 * 1024 * 1024))
    const peer = answering({
      manifest: async (_params, { emit, signal: cancelled }) => {
        // Frames of zstd may follow each other: each of some kilobytes becomes 64 MB.
        for (let sent = 0; sent < 100 && !cancelled.aborted; sent++) await emit({}, bomb)
      },
    })
    const before = process.memoryUsage().arrayBuffers
    await assert.rejects(fetchManifest(peer, 'rel_1', '0'.repeat(64), signal), {
      code: 'object.corrupt',
      message: /larger than 256 MB/,
    })
    assert.ok(process.memoryUsage().arrayBuffers - before < 700 * 1024 * 1024)
    peer.close('over')
  })

  test('that leads out of its directory is refused', async () => {
    for (const text of [
      `f\t3\t${digestOf('one')}\t../../etc/cron.d/x\0`,
      `f\t3\t${digestOf('one')}\t/etc/x\0`,
      'l\tout\0../../etc\0',
      `l\tdir\0/etc\0f\t3\t${digestOf('one')}\tdir/x\0`,
      `l\tdir\0sub\0f\t3\t${digestOf('one')}\tdir/x\0`,
    ]) {
      const peer = answering({ manifest: async (_params, { emit }) => emit({}, zstdCompressSync(text)) })
      await assert.rejects(fetchManifest(peer, 'rel_1', '0'.repeat(64), signal), { code: 'source.unsafe' }, text)
      peer.close('over')
    }
    const { entries } = makeManifest([{ kind: 'link', path: 'a/b', target: '../c' }])
    assert.equal(entries.length, 1)
  })
})
