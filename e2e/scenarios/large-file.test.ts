import assert from 'node:assert/strict'
import { createHash, randomFillSync } from 'node:crypto'
import { closeSync, mkdirSync, openSync, readSync, writeFileSync, writeSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'node:test'
import { memoryOf, Team } from '../commands/team.ts'

const MB = 1024 * 1024

function digestOf(path: string): string {
  const hash = createHash('sha256')
  const piece = Buffer.alloc(4 * MB)
  const file = openSync(path, 'r')
  for (let read; (read = readSync(file, piece)) > 0;) hash.update(piece.subarray(0, read))
  closeSync(file)
  return hash.digest('hex')
}

test(
  'a file of 400 MB that cannot be compressed arrives whole, and neither agent nor control plane holds it in memory',
  { skip: process.platform === 'linux' ? false : 'needs /proc', timeout: 120_000 },
  async (context) => {
    await using team = await Team.up({ servers: 1 })
    writeFileSync(
      join(team.directory, 'dploy.yml'),
      JSON.stringify({ application: 'shop', environments: { production: { servers: [{ name: 'web1' }] } } }),
    )
    mkdirSync(join(team.directory, 'built'))
    const path = join(team.directory, 'built/large.bin')
    const file = openSync(path, 'w')
    for (let written = 0; written < 400; written += 8) writeSync(file, randomFillSync(Buffer.allocUnsafe(8 * MB)))
    closeSync(file)
    const agent = team.agents[0]!.pid!
    const before = { agent: memoryOf(agent), control: memoryOf(team.controlPid) }
    const began = performance.now()
    const { code, stderr } = await team.dploy('deploy', 'production', '--directory', 'built')
    const seconds = (performance.now() - began) / 1000
    assert.equal(code, 0, stderr)
    assert.equal(digestOf(join(team.root('web1'), 'srv/shop/current/large.bin')), digestOf(path))
    const most = { agent: memoryOf(agent, 'VmHWM'), control: memoryOf(team.controlPid, 'VmHWM') }
    context.diagnostic(
      `${seconds.toFixed(1)} s; agent: ${Math.round(before.agent / MB)} MB before, at most ${Math.round(most.agent / MB)} MB; control plane: ${Math.round(before.control / MB)} MB, ${Math.round(most.control / MB)} MB`,
    )
    assert.ok(most.agent < before.agent + 150 * MB, 'the agent')
    assert.ok(most.control < before.control + 200 * MB, 'the control plane')
  },
)
