import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { MachineFacts } from '../../protocol/machine.ts'
import { Vitals } from './vitals.ts'

const minute = 60_000
const machine = (cpu: number | null, free = 50): MachineFacts => ({
  load: 0.5,
  processors: 2,
  cpu,
  memory: { available: 25, total: 100 },
  disk: { free, total: 100 },
})

test('of each server an hour is kept, the oldest first, with what it is now', () => {
  const vitals = new Vitals()
  for (let half = 0; half <= 300; half++) vitals.add('srv_1', machine(half / 1_000), half * 30_000)
  const now = 300 * 30_000
  const samples = vitals.samples('srv_1', now, 1_000)
  assert.equal(samples.length, 120)
  assert.ok(samples[0]!.at > now - 61 * minute && samples.at(-1)!.at === now)
  assert.deepEqual(
    samples.map(({ at }) => at),
    samples.map(({ at }) => at).sort((a, b) => a - b),
  )
  assert.equal(vitals.latest('srv_1', now)?.machine.cpu, 0.3)
  assert.ok(Math.abs(samples.at(-1)!.memory - 0.75) < 1e-6 && Math.abs(samples.at(-1)!.disk - 0.5) < 1e-6)
})

test('who looks often makes no more of them', () => {
  const vitals = new Vitals()
  for (let second = 0; second <= 60; second++) vitals.add('srv_1', machine(null, second), second * 1_000)
  const samples = vitals.samples('srv_1', minute, 100)
  assert.deepEqual(
    samples.map(({ at }) => at),
    [0, 25_000, 50_000, 60_000],
  )
  assert.equal(samples[0]!.cpu, null)
  assert.equal(vitals.latest('srv_1', minute)?.machine.disk.free, 60)
})

test('fewer are spread evenly over the time, and the newest is among them', () => {
  const vitals = new Vitals()
  for (let half = 0; half < 100; half++) vitals.add('srv_1', machine(0), half * 30_000)
  const samples = vitals.samples('srv_1', 99 * 30_000, 10)
  assert.equal(samples.length, 10)
  assert.equal(samples[0]!.at, 0)
  assert.equal(samples.at(-1)!.at, 99 * 30_000)
})

test('what was told long ago is not told as of now, and a server that is gone leaves nothing', () => {
  const vitals = new Vitals()
  vitals.add('srv_1', machine(0.1), 5)
  vitals.add('srv_1', machine(0.1), 10)
  assert.equal(vitals.latest('srv_1', 3 * minute), null)
  assert.deepEqual(vitals.samples('srv_1', 180 * minute, 10), [])
  vitals.forget('srv_1')
  assert.deepEqual(vitals.samples('srv_1', 0, 10), [])
})
