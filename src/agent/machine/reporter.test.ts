import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { MachineFacts } from '../../protocol/machine.ts'
import { DployError } from '../../protocol/errors.ts'
import { reportMachine } from './reporter.ts'

const facts: MachineFacts = {
  load: 1,
  processors: 2,
  cpu: 0.5,
  memory: { available: 1, total: 2 },
  disk: { free: 1, total: 2 },
}

/** A control plane that answers what `answer` does to each report, by its number. */
function control(answer: (nth: number) => void) {
  const closed = Promise.withResolvers<string>()
  let asked = 0
  const call = async (method: string, params: unknown) => {
    assert.equal(method, 'report')
    assert.deepEqual(params, facts)
    answer(++asked)
    return {}
  }
  return { peer: { call, closed: closed.promise }, close: () => closed.resolve('gone'), asked: () => asked }
}

test(
  'a machine is reported until the connection ends, also over what goes wrong once',
  { timeout: 5_000 },
  async () => {
    const { peer, close, asked } = control((nth) => {
      if (nth === 1) throw new DployError('unauthorized', 'Say hello first')
      if (nth === 3) close()
    })
    await reportMachine(
      peer,
      () => facts,
      () => 1,
    )
    assert.equal(asked(), 3)
  },
)

test('a control plane that does not know of it is told once', { timeout: 5_000 }, async () => {
  const { peer, asked } = control(() => {
    throw new DployError('protocol.invalid', 'There is no method "report"')
  })
  await reportMachine(
    peer,
    () => facts,
    () => 1,
  )
  assert.equal(asked(), 1)
})
