import assert from 'node:assert/strict'
import { test } from 'node:test'
import { Typist } from './typist.ts'

interface Message {
  params: { run: string }
  body: { base64?: string; size?: { columns: number; rows: number } }
}

/** A control plane that takes each message once the one before was let through. */
function slow() {
  const messages: Message[] = []
  const waiting: PromiseWithResolvers<object>[] = []
  const call = async (_: string, input: Message) => {
    messages.push(input)
    const answer = Promise.withResolvers<object>()
    waiting.push(answer)
    return answer.promise
  }
  const next = async (error?: Error) => {
    const answer = waiting.shift()!
    if (error) answer.reject(error)
    else answer.resolve({})
    await new Promise((resolve) => setImmediate(resolve))
  }
  return { client: { call } as never, messages, next }
}

const bytesOf = ({ body }: Message) => Buffer.from(body.base64 ?? '', 'base64')

test('what is typed while a message is on its way goes with the next, in order', async () => {
  const { client, messages, next } = slow()
  const typist = new Typist(client, 'run_1')
  typist.type(Buffer.from('a'))
  typist.type(Buffer.from('b'))
  typist.resize({ columns: 90, rows: 30 })
  typist.type(Buffer.from('ü\u0003'))
  assert.equal(messages.length, 1)
  await next()
  assert.deepEqual(
    messages.map((message) => bytesOf(message).toString()),
    ['a', 'bü\u0003'],
  )
  assert.deepEqual(messages[1]!.body.size, { columns: 90, rows: 30 })
  await next()
  assert.equal(messages.length, 2)
})

test('a large paste goes in pieces and arrives whole', async () => {
  const { client, messages, next } = slow()
  const typist = new Typist(client, 'run_1')
  const paste = Buffer.from(Array.from({ length: 200_000 }, (_, index) => index % 256))
  typist.type(paste)
  for (let left = 4; left > 0; left--) await next()
  assert.deepEqual(Buffer.concat(messages.map(bytesOf)), paste)
  assert.ok(messages.every((message) => bytesOf(message).length <= 64 * 1024))
})

test('it is told when what was typed did not arrive', async () => {
  const { client, next } = slow()
  const failures: unknown[] = []
  const typist = new Typist(client, 'run_1', (error) => failures.push(error))
  typist.type(Buffer.from('a'))
  await next(new Error('cut'))
  assert.deepEqual(failures.map(String), ['Error: cut'])
})
