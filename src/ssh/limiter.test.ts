import assert from 'node:assert/strict'
import { test } from 'node:test'
import { Limiter } from './limiter.ts'

test('no more begin at a time than are allowed, each after the one before, and all get their turn', async () => {
  const limiter = new Limiter(3, 20)
  let busy = 0
  let most = 0
  const begun: number[] = []
  const start = performance.now()
  await Promise.all(
    Array.from({ length: 10 }, async () => {
      const end = await limiter.turn()
      begun.push(performance.now())
      most = Math.max(most, ++busy)
      await new Promise((resolve) => setTimeout(resolve, 100))
      busy--
      end()
      end()
    }),
  )
  assert.equal(most, 3)
  assert.equal(begun.length, 10)
  // Of each, a timer may be late on a busy machine; none begins before its time. Timers may come a millisecond early.
  for (const [index, at] of begun.entries()) assert.ok(at - start >= index * 20 - 2, `${index}: ${at - start} ms`)
})

test("who gives up while waiting takes nobody's turn", async () => {
  const limiter = new Limiter(1, 0)
  const end = await limiter.turn()
  const gone = limiter.turn(AbortSignal.abort(new Error('gone')))
  const patient = limiter.turn()
  end()
  await assert.rejects(gone, /gone/)
  ;(await patient)()
  ;(await limiter.turn())()
})
