import assert from 'node:assert/strict'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test, type TestContext } from 'node:test'
import { machineSchema } from '../../protocol/machine.ts'
import { Machine } from './machine.ts'

function statFile(t: TestContext): { path: string; write(...times: number[]): void } {
  const directory = mkdtempSync(join(tmpdir(), 'dploy-machine-'))
  t.after(() => rmSync(directory, { recursive: true, force: true }))
  const path = join(directory, 'stat')
  return {
    path,
    write: (...times) => writeFileSync(path, `cpu  ${times.join(' ')} 0 0\ncpu0 1 2 3 4 5 6 7 8 0 0\nintr 1\n`),
  }
}

test('the processors are measured between two looks, and those close together share one', (t) => {
  const stat = statFile(t)
  const machine = new Machine(stat.path)
  stat.write(100, 0, 50, 800, 50, 0, 0, 0)
  assert.equal(machine.read([], 0).cpu, null)
  // 100 ticks more, 25 of them idle or waiting for a disk.
  stat.write(150, 0, 75, 815, 60, 0, 0, 0)
  assert.equal(machine.read([], 5_000).cpu, 0.75)
  stat.write(150, 0, 75, 915, 60, 0, 0, 0)
  assert.equal(machine.read([], 5_500).cpu, 0.75)
  assert.equal(machine.read([], 6_500).cpu, 0)
})

test('a machine that does not tell of its processors tells the rest', (t) => {
  const machine = new Machine('/nonexistent')
  const facts = machine.read([tmpdir(), '/nonexistent'])
  assert.equal(facts.cpu, null)
  assert.ok(facts.memory.total > facts.memory.available && facts.memory.available > 0)
  assert.ok(facts.disk.total > 0 && facts.disk.free <= facts.disk.total)
  assert.deepEqual(machineSchema.parse(facts), facts)
  const stat = statFile(t)
  writeFileSync(stat.path, 'nothing of the kind\n')
  assert.equal(new Machine(stat.path).read([]).cpu, null)
})
