import assert from 'node:assert/strict'
import { once } from 'node:events'
import { PassThrough } from 'node:stream'
import { test } from 'node:test'
import { setTimeout as delay } from 'node:timers/promises'
import { WebSocket, WebSocketServer } from 'ws'
import { DployError } from './errors.ts'
import { Peer, type Handler } from './peer.ts'
import { socketCarrier } from './socket-carrier.ts'
import { streamCarrier } from './stream-carrier.ts'

/** Two peers over a real WebSocket on loopback. */
async function connected(
  handlers: Record<string, Handler>,
): Promise<AsyncDisposable & { caller: Peer; answerer: Peer; socket: WebSocket }> {
  const server = new WebSocketServer({ host: '127.0.0.1', port: 0 })
  await once(server, 'listening')
  const accepted = once(server, 'connection')
  const socket = new WebSocket(`ws://127.0.0.1:${(server.address() as { port: number }).port}`)
  const caller = new Peer(socketCarrier(socket), {})
  const [other] = (await accepted) as [WebSocket]
  const answerer = new Peer(socketCarrier(other), handlers)
  if (socket.readyState !== socket.OPEN) await once(socket, 'open')
  return {
    caller,
    answerer,
    socket,
    async [Symbol.asyncDispose]() {
      caller.close('test over')
      answerer.close('test over')
      server.close()
      await Promise.all([caller.closed, answerer.closed])
    },
  }
}

test('a call is answered, with events before the result', async () => {
  await using pair = await connected({
    add: async (params, context) => {
      await context.emit({ half: true }, Buffer.from('body'))
      return (params as number[]).reduce((sum, value) => sum + value, 0) + context.body.length
    },
  })
  const events: [unknown, string][] = []
  const result = await pair.caller.call('add', [1, 2], {
    body: Buffer.from('123'),
    onEvent: (event, body) => events.push([event, Buffer.from(body).toString()]),
  })
  assert.equal(result, 6)
  assert.deepEqual(events, [[{ half: true }, 'body']])
})

test('an error keeps its code, message and fix across the connection', async () => {
  await using pair = await connected({
    fail: async () => {
      throw new DployError('object.missing', 'gone', { where: 'web1' })
    },
  })
  await assert.rejects(pair.caller.call('fail', {}), { code: 'object.missing', message: 'gone', where: 'web1' })
  await assert.rejects(pair.caller.call('no-such', {}), { code: 'protocol.invalid' })
})

test('cancelling a call aborts its handler', async () => {
  const aborted = Promise.withResolvers<unknown>()
  await using pair = await connected({
    wait: (_, context) =>
      new Promise((_resolve, reject) =>
        context.signal.addEventListener(
          'abort',
          () => (aborted.resolve(context.signal.reason), reject(context.signal.reason as Error)),
        ),
      ),
  })
  const controller = new AbortController()
  const call = pair.caller.call('wait', {}, { signal: controller.signal })
  setImmediate(() => controller.abort(new Error('enough')))
  await assert.rejects(call, /enough/)
  assert.equal(((await aborted.promise) as DployError).code, 'deployment.cancelled')
})

test('when the connection ends, what is pending is rejected and what is handled is aborted', async () => {
  const handling = Promise.withResolvers<AbortSignal>()
  await using pair = await connected({
    wait: (_, context) => (handling.resolve(context.signal), new Promise(() => {})),
  })
  const call = pair.caller.call('wait', {})
  const signal = await handling.promise
  pair.socket.terminate()
  await assert.rejects(call, { code: 'connection.closed' })
  await pair.answerer.closed
  assert.ok(signal.aborted)
  await assert.rejects(pair.caller.call('wait', {}), { code: 'connection.closed' })
})

test('bodies of many megabytes come whole and in order, and the sender waits for room', async () => {
  const chunks = 200
  await using pair = await connected({
    pour: async (_, context) => {
      for (let index = 0; index < chunks; index++) await context.emit({ index }, Buffer.alloc(256 * 1024, index))
      return chunks
    },
  })
  let expected = 0
  await pair.caller.call(
    'pour',
    {},
    {
      onEvent: (event, body) => {
        assert.deepEqual(event, { index: expected })
        assert.equal(body[1000], expected % 256)
        expected++
      },
    },
  )
  assert.equal(expected, chunks)
})

test('an unknown head closes the connection and nothing else', async () => {
  await using pair = await connected({})
  const { encodeFrame } = await import('./frame.ts')
  pair.socket.send(encodeFrame({ kind: 'nonsense' }))
  await pair.answerer.closed
  assert.equal(pair.answerer.open, false)
})

/** Two peers over a pair of byte streams, as ssh makes them. */
async function piped(handlers: Record<string, Handler>): Promise<AsyncDisposable & { caller: Peer }> {
  const [there, back] = [new PassThrough(), new PassThrough()]
  const caller = new Peer(streamCarrier(back, there), {})
  const answerer = new Peer(streamCarrier(there, back), handlers)
  return {
    caller,
    async [Symbol.asyncDispose]() {
      caller.close('test over')
      await answerer.closed
    },
  }
}

for (const [carrier, connect] of [
  ['a WebSocket', connected],
  ['byte streams', piped],
] as const) {
  test(`over ${carrier}, who sends waits for a receiver that takes its time, and nothing is lost`, async () => {
    const piece = Buffer.alloc(64 * 1024)
    const pieces = 1_000
    let sent = 0
    await using pair = await connect({
      async flood(_params, context) {
        for (; sent < pieces; sent++) await context.emit(sent, piece)
        return sent
      },
    })
    const gate = Promise.withResolvers<void>()
    const received: number[] = []
    const result = pair.caller.call('flood', null, {
      onEvent: (event) => {
        received.push(event as number)
        return gate.promise
      },
    })
    for (let last = -1; last !== sent; await delay(200)) last = sent
    // What fits into the buffers of both ends and of the system between them.
    assert.ok(sent < pieces / 2, `${sent} of ${pieces} pieces were sent to one who takes none`)
    gate.resolve()
    assert.equal(await result, pieces)
    assert.deepEqual(
      received,
      Array.from({ length: pieces }, (_, index) => index),
    )
  })
}

test('a connection that takes no more is closed for whoever asks again, before the other side has heard of it', async () => {
  await using pair = await connected({ greet: async () => 'hello' })
  pair.socket.terminate()
  await assert.rejects(pair.caller.call('greet', {}), { code: 'connection.closed' })
  assert.equal(pair.caller.open, false)
})
