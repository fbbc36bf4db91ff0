import assert from 'node:assert/strict'
import { test } from 'node:test'
import { MadeOnce } from './made-once.ts'

const never = new AbortController().signal

test('all who ask at the same time get what was made once', async () => {
  const once = new MadeOnce<number>()
  let made = 0
  const make = async () => {
    await new Promise((resolve) => setImmediate(resolve))
    return ++made
  }
  assert.deepEqual(await Promise.all([1, 2, 3, 4].map(() => once.of('node', never, make))), [1, 1, 1, 1])
  assert.equal(await once.of('node', never, make), 2, 'a later one makes it anew: what is kept, is kept elsewhere')
})

test('one who gives up ends nothing for the others', async () => {
  const once = new MadeOnce<string>()
  const { promise, resolve } = Promise.withResolvers<void>()
  let ended = false
  const make = async (signal: AbortSignal) => {
    signal.addEventListener('abort', () => (ended = true))
    await promise
    return 'made'
  }
  const impatient = new AbortController()
  const [one, other] = [once.of('node', impatient.signal, make), once.of('node', never, make)]
  impatient.abort(new Error('Ctrl-C'))
  await assert.rejects(one, { message: 'Ctrl-C' })
  assert.equal(ended, false)
  resolve()
  assert.equal(await other, 'made')
})

test('when all gave up the work ends, and the next one begins anew', async () => {
  const once = new MadeOnce<string>()
  const signals: AbortSignal[] = []
  const make = (signal: AbortSignal) =>
    new Promise<string>((_, reject) => {
      signals.push(signal)
      signal.addEventListener('abort', () => reject(signal.reason))
    })
  const impatient = new AbortController()
  const first = once.of('node', impatient.signal, make)
  impatient.abort(new Error('Ctrl-C'))
  await assert.rejects(first, { message: 'Ctrl-C' })
  assert.equal(signals[0]!.aborted, true)
  assert.equal(await once.of('node', never, async () => 'made'), 'made')
})

test('a failure is told to all, and the next one tries again', async () => {
  const once = new MadeOnce<string>()
  const fail = async () => {
    await new Promise((resolve) => setImmediate(resolve))
    throw new Error('no space')
  }
  const all = await Promise.allSettled([1, 2].map(() => once.of('node', never, fail)))
  assert.deepEqual(
    all.map((one) => one.status === 'rejected' && (one.reason as Error).message),
    ['no space', 'no space'],
  )
  assert.equal(await once.of('node', never, async () => 'made'), 'made')
})
