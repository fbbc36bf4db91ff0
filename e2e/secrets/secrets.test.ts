import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { readdirSync, readFileSync, statSync } from 'node:fs'
import { join } from 'node:path'
import { text } from 'node:stream/consumers'
import { after, before, describe, test } from 'node:test'
import { fileURLToPath } from 'node:url'
import { unavailable } from '../fleet/fleet.ts'
import { World } from '../world.ts'

const missing = unavailable()
const program = fileURLToPath(new URL('../../src/cli/main.ts', import.meta.url))
const first = 'first-value-$HOME "quoted" \\ back'
const second = 'second-value\nof two lines'

describe('secrets on two servers', { skip: missing === null ? false : missing, timeout: 180_000 }, () => {
  let world: World

  before(async () => {
    world = await World.up({
      servers: 2,
      extra: { secrets: ['DATABASE_URL'], hooks: { after_stage: 'echo "hook has $DATABASE_URL"' } },
    })
  })

  after(async () => {
    await world?.[Symbol.asyncDispose]()
  })

  test('a deployment that lacks one fails before anything is built, and says how to set it', async () => {
    const { code, result } = await world.dploy('deploy', 'production')
    assert.equal(code, 1)
    assert.equal(result.failure!.code, 'secret.missing')
    assert.match(result.failure!.message, /shop\/production does not have: DATABASE_URL/)
  })

  test('what is set reaches service and hook, and the log shows none of it', async () => {
    assert.equal((await secret('set', 'production', 'DATABASE_URL', first)).code, 0)
    const { result, events } = await world.dploy('deploy', 'production')
    assert.equal(result.state, 'succeeded', result.failure?.message)
    assert.deepEqual(await inService(), [first, first])
    const printed = events.filter(({ data }) => data.kind === 'output').map(({ data }) => data.text)
    assert.ok(printed.join('').includes('hook has ***'), printed.join(''))
  })

  test('a new value comes with the next release; going back brings the old one', async () => {
    await secret('set', 'production', 'DATABASE_URL', second)
    await world.commit({ 'version.txt': 'two\n' }, 'Two')
    assert.equal((await world.dploy('deploy', 'production')).result.state, 'succeeded')
    assert.deepEqual(await inService(), [second, second])
    assert.equal((await world.dploy('rollback', 'production')).result.state, 'succeeded')
    assert.deepEqual(await inService(), [first, first])
  })

  test('a hook that fails shows no secret in its error', async () => {
    await world.configure({
      extra: { secrets: ['DATABASE_URL'], hooks: { after_stage: 'echo "cannot reach $DATABASE_URL" >&2; exit 3' } },
    })
    await world.commit({ 'version.txt': 'three\n' }, 'Three')
    const { result } = await world.dploy('deploy', 'production')
    assert.equal(result.failure!.code, 'hook.failed')
    assert.ok(!JSON.stringify(result).includes('second-value'))
    assert.match(result.failure!.message, /cannot reach \*\*\*/)
  })

  test('the list has names, and a removed secret is gone', async () => {
    const listed = await secret('list', 'production')
    assert.match(listed.stdout, /"name":"DATABASE_URL"/)
    assert.ok(!listed.stdout.includes('value-'))
    assert.equal((await secret('remove', 'production', 'DATABASE_URL')).code, 0)
    const again = await secret('remove', 'production', 'DATABASE_URL')
    assert.match(again.stderr, /secret\.unknown/)
  })

  test('servers go to and from the releases that they keep also when the secret is gone here', async () => {
    const { result, events } = await world.dploy('rollback', 'production', '--release', '2')
    assert.equal(result.state, 'succeeded', JSON.stringify(result.failure))
    assert.deepEqual(await inService(), [second, second])
    await world.configure({ extra: { secrets: [], hooks: {} } })
    await world.commit({ 'version.txt': 'four unhealthy\n' }, 'Never healthy')
    const back = await world.dploy('deploy', 'production')
    assert.equal(back.result.state, 'rolled_back', JSON.stringify(back.result.failure))
    assert.deepEqual(await inService(), [second, second])
    assert.ok(!JSON.stringify([events, back.events, back.result]).includes('second-value'))
  })

  test('no value stands in clear in what the control plane keeps, in a release, or in an argument', async () => {
    for (const file of filesBelow(join(world.repository, '.dploy'))) {
      const bytes = readFileSync(file)
      for (const value of ['first-value', 'second-value']) assert.ok(!bytes.includes(value), `${file} holds a secret`)
    }
    for (const server of world.servers) {
      assert.equal((await server.exec('grep', ['-rl', 'first-value', '/srv/shop'])).stdout, '')
      assert.equal(
        (
          await server.exec('sh', ['-c', 'cat /proc/[0-9]*/cmdline | tr "\\0" " " | grep -c "first-value" || true'])
        ).stdout.trim(),
        '1',
        'only this grep itself',
      )
    }
  })

  /** Runs `dploy secret`; a last argument for `set` is the value, through standard input. */
  async function secret(
    action: string,
    environment: string,
    name?: string,
    value?: string,
  ): Promise<{ code: number | null; stdout: string; stderr: string }> {
    const child = spawn(
      process.execPath,
      [program, 'secret', action, environment, ...(name === undefined ? [] : [name]), '--json'],
      { cwd: world.repository, stdio: ['pipe', 'pipe', 'pipe'], env: { ...process.env, DPLOY_URL: '' } },
    )
    child.stdin.end(value === undefined ? '' : `${value}\n`)
    const [stdout, stderr] = await Promise.all([
      text(child.stdout),
      text(child.stderr),
      new Promise((resolve) => child.once('close', resolve)),
    ])
    return { code: child.exitCode, stdout, stderr }
  }

  /** The value in the environment of the running service, on each server. */
  function inService(): Promise<string[]> {
    return Promise.all(
      world.servers.map(async (server) => {
        const { stdout } = await server.exec('sh', [
          '-c',
          'cat /proc/$(systemctl show --property MainPID --value dploy-shop-production.service)/environ',
        ])
        return (
          stdout
            .split('\0')
            .find((line) => line.startsWith('DATABASE_URL='))
            ?.slice('DATABASE_URL='.length) ?? ''
        )
      }),
    )
  }
})

function filesBelow(directory: string): string[] {
  return readdirSync(directory, { recursive: true, encoding: 'utf8' })
    .map((name) => join(directory, name))
    .filter((path) => statSync(path, { throwIfNoEntry: false })?.isFile())
}
