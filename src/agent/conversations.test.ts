import assert from 'node:assert/strict'
import { PassThrough } from 'node:stream'
import { test } from 'node:test'
import { setTimeout as delay } from 'node:timers/promises'
import { DployError } from '../protocol/errors.ts'
import { Peer } from '../protocol/peer.ts'
import { streamCarrier } from '../protocol/stream-carrier.ts'
import { Conversations } from './conversations.ts'

/** An agent's side, and the other end of its streams: what it says, as heads. */
function pair(): {
  conversations: Conversations
  heads: unknown[]
  say: (head: unknown) => Promise<void>
  end: () => void
} {
  const incoming = new PassThrough()
  const outgoing = new PassThrough()
  const laptop = streamCarrier(outgoing, incoming)
  const heads: unknown[] = []
  laptop.onFrame = (head) => void heads.push(head)
  return {
    conversations: new Conversations(incoming, outgoing),
    heads,
    say: (head) => laptop.send(head),
    end: () => incoming.end(),
  }
}

const greet = { kind: 'call', id: 1, method: 'greet', params: {} }
const answer = { greet: async () => 'hello' }
/** All that is under way between two streams in memory. */
const settle = () => delay(5)

test('the first conversation begins with the streams, and bye ends it and what runs in it', async (t) => {
  const { conversations, heads, say, end } = pair()
  t.after(end)
  await say(greet)
  const peer = new Peer((await conversations.next())!, {
    ...answer,
    wait: (_, { signal }) =>
      new Promise((_resolve, reject) => signal.addEventListener('abort', () => reject(signal.reason))),
  })
  await settle()
  assert.deepEqual(heads, [{ kind: 'result', id: 1, result: 'hello' }])
  await say({ kind: 'call', id: 2, method: 'wait', params: {} })
  await say({ kind: 'bye' })
  assert.equal(await peer.closed, 'the command is over')
  await settle()
  assert.equal(heads.length, 1, 'an answer came after the end')
})

test('next begins another one: ready comes first, then answers to what was sent along', async (t) => {
  const { conversations, heads, say, end } = pair()
  t.after(end)
  const first = new Peer((await conversations.next())!, answer)
  // Without a bye, too: whoever spoke before may have died.
  await say({ kind: 'next', id: 'two' })
  await say({ ...greet, id: 7 })
  await first.closed
  assert.deepEqual(heads, [])
  const second = new Peer((await conversations.next())!, answer)
  await settle()
  assert.deepEqual(heads, [
    { kind: 'ready', id: 'two' },
    { kind: 'result', id: 7, result: 'hello' },
  ])
  await assert.rejects(
    first.call('anything', {}),
    (error) => error instanceof DployError && error.code === 'connection.closed',
  )
  assert.ok(second.open)
})

test('of several that were begun meanwhile the last one counts', async (t) => {
  const { conversations, heads, say, end } = pair()
  t.after(end)
  await conversations.next()
  for (const id of ['two', 'three']) await say({ kind: 'next', id })
  await settle()
  await conversations.next()
  await settle()
  assert.deepEqual(heads, [{ kind: 'ready', id: 'three' }])
})

test('when the streams end there is no other, and nobody waits', async () => {
  const { conversations, say, end } = pair()
  const peer = new Peer((await conversations.next())!, answer)
  await say({ kind: 'bye' })
  await peer.closed
  const quiet = conversations.quiet()
  const next = conversations.next()
  end()
  assert.equal(await next, null)
  assert.equal(await quiet, true)
})

test('what can wait does so for a moment, or until another command comes', async (t) => {
  const { conversations, say, end } = pair()
  t.after(end)
  await conversations.next()
  const began = performance.now()
  assert.equal(await conversations.quiet(), true)
  assert.ok(performance.now() - began >= 290)
  const again = performance.now()
  const quiet = conversations.quiet()
  await say({ kind: 'next', id: 'two' })
  assert.equal(await quiet, false)
  assert.ok(performance.now() - again < 250, 'another command had to wait')
})
