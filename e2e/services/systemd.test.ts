import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { realpathSync } from 'node:fs'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { test } from 'node:test'
import { fileURLToPath } from 'node:url'
import { Fleet, unavailable } from '../fleet/fleet.ts'
import type { Told } from './reporter.ts'

const top = fileURLToPath(new URL('../..', import.meta.url)).replace(/\/$/, '')
const there = '/opt/dploy/tree'

test(
  'systemd keeps the contract of service managers, on a server of its own',
  { skip: unavailable() ?? false, timeout: 280_000 },
  async (context) => {
    const modules = realpathSync(join(top, 'node_modules'))
    // Where node_modules is a link, it leads to a path that the server lacks.
    const linked: Record<string, string> = modules === join(top, 'node_modules') ? {} : { [modules]: modules }
    await using fleet = await Fleet.up({
      servers: 1,
      name: 'services',
      bind: { '/opt/dploy/node': process.execPath, [there]: top, ...linked },
    })
    const { file, args, env } = fleet.servers[0]!.entering('/opt/dploy/node', [
      '--test',
      `--test-reporter=${there}/e2e/services/reporter.ts`,
      `${there}/src/agent/services/systemd.contract.ts`,
    ])
    const child = spawn(file, args, { env, stdio: ['ignore', 'pipe', 'pipe'] })
    const ended = once(child, 'close')
    let printed = ''
    child.stderr.on('data', (chunk: Buffer) => (printed += chunk.toString()))
    let passed = 0
    for await (const line of createInterface({ input: child.stdout })) {
      const told = JSON.parse(line) as Told
      await context.test(told.name, { skip: told.skipped ?? false }, () => {
        if (!told.passed) assert.fail(told.error ?? 'failed')
        passed++
      })
    }
    const [code] = await ended
    assert.ok(passed > 10, `only ${passed} tests passed there: ${printed}`)
    assert.equal(code, 0, printed)
  },
)
