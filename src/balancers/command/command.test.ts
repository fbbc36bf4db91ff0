import assert from 'node:assert/strict'
import { existsSync } from 'node:fs'
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import type { BalancerConfig } from '../../protocol/config/config.ts'
import { balancerContract, coded, freePort, soon, until } from '../contract-suite.ts'
import { haproxyBinary, startHaproxy } from '../haproxy/fixture.ts'
import { openBalancer } from '../registry.ts'

type Config = Extract<BalancerConfig, { kind: 'command' }>

const wrong = (change: Partial<Config>) => (config: BalancerConfig) => ({ ...(config as Config), ...change })

/** What an operator would write: it talks to HAProxy by itself. */
const script = `
import { connect } from 'node:net'
const [socket, state] = process.argv.slice(2)
const connection = connect(socket)
let said = ''
connection.on('data', (chunk) => (said += chunk)).on('close', () => {
  if (said.trim() !== '') { console.error(said.trim()); process.exit(1) }
})
connection.end('set server web/' + process.env.DPLOY_SERVER + ' state ' + state + '\\n')
`

balancerContract({
  name: "the driver of the operator's own commands",
  skip: haproxyBinary() === null ? 'HAProxy is not installed' : false,
  capabilities: { countsInFlight: false, counts: false, drains: true, reloads: false },
  seesServersDown: false,
  splits: false,
  closesIdleConnections: false,
  async start(backends, directory) {
    const haproxy = await startHaproxy({
      directory,
      bind: `127.0.0.1:${await freePort()}`,
      backend: 'web',
      servers: [...backends],
      healthPath: '/healthz',
      checkInterval: '100ms',
    })
    const file = join(directory, 'balance.mjs')
    await writeFile(file, script)
    const say = (state: string) => `'${process.execPath}' '${file}' '${haproxy.address.replace('unix:', '')}' ${state}`
    return {
      url: haproxy.url,
      config: {
        kind: 'command',
        drain: say('drain'),
        register: say('ready'),
        servers: Object.fromEntries(backends.map(({ name, port }) => [name, `127.0.0.1:${port}`])),
        timeout: 10_000,
      },
      [Symbol.asyncDispose]: () => haproxy[Symbol.asyncDispose](),
    }
  },
  mistakes: [
    {
      what: 'a command that the shell cannot read',
      code: 'balancer.refused',
      names: /The drain command is no command line: .*unterminated|unexpected/i,
      make: wrong({ drain: 'echo "out' }),
    },
    {
      what: 'a server without an address',
      code: 'balancer.unknown_server',
      names: /no address of web1; it has web7/,
      make: wrong({ servers: { web7: 'x' } }),
    },
  ],
})

const config: Config = { kind: 'command', drain: 'true', register: 'true', servers: {}, timeout: 5_000 }

test('a command gets the server, its address and how long it may wait, and nothing of the environment of the control plane', async () => {
  await using directory = await temporary()
  const file = join(directory.path, 'seen')
  process.env.DPLOY_TEST_SECRET = 'x'
  try {
    await using balancer = openBalancer({
      ...config,
      drain: `env > '${file}'`,
      servers: { web1: '10.0.0.11:3000; $(touch /tmp/never)' },
    })
    assert.deepEqual(await balancer.drain('web1', { timeout: 1_500, signal: soon() }), { inFlight: 0 })
  } finally {
    delete process.env.DPLOY_TEST_SECRET
  }
  const seen = await readFile(file, 'utf8')
  assert.deepEqual(
    seen
      .split('\n')
      .filter((line) => line.startsWith('DPLOY_'))
      .toSorted(),
    ['DPLOY_ADDRESS=10.0.0.11:3000; $(touch /tmp/never)', 'DPLOY_SERVER=web1', 'DPLOY_TIMEOUT=2'],
  )
})

test('without addresses the address is the name', async () => {
  await using balancer = openBalancer({ ...config, drain: 'test "$DPLOY_ADDRESS" = web1.example.com' })
  await balancer.drain('web1.example.com', { timeout: 0, signal: soon() })
})

test('a command that fails is told with the last of what it printed', async () => {
  await using balancer = openBalancer({
    ...config,
    drain: 'echo first; echo no such pool >&2; exit 3',
    register: 'echo still down; exit 1',
  })
  await assert.rejects(
    balancer.drain('web1', { timeout: 1_000, signal: soon() }),
    coded('balancer.refused', /drain command failed for web1 \(exit code 3\): (.*\n)?no such pool/),
  )
  await assert.rejects(
    balancer.register('web1', { timeout: 1_000, signal: soon() }),
    coded('balancer.not_up', /register command failed for web1 \(exit code 1\): still down/),
  )
  assert.deepEqual(await balancer.read(['web1'], soon()), [])
})

test('a command that does not end is ended with all that it started', async () => {
  await using directory = await temporary()
  const file = join(directory.path, 'pid')
  const drain = `sleep 300 & echo $! > '${file}'; wait`
  await using balancer = openBalancer({ ...config, drain, timeout: 300 })
  await assert.rejects(
    balancer.drain('web1', { timeout: 1_000, signal: soon() }),
    coded('command.timeout', /drain command for web1 did not end within 300 ?ms/),
  )
  await gone(file)

  await using patient = openBalancer({ ...config, drain })
  const abort = new AbortController()
  const drained = patient.drain('web1', { timeout: 1_000, signal: abort.signal })
  const seen = assert.rejects(drained, /cancelled by ann/)
  await until(async () => assert.notEqual(await readFile(file, 'utf8'), ''))
  abort.abort(new Error('cancelled by ann'))
  await seen
  await gone(file)
})

async function gone(file: string): Promise<void> {
  const pid = (await readFile(file, 'utf8')).trim()
  await until(async () => assert.ok(!existsSync(`/proc/${pid}`)))
  await writeFile(file, '')
}

async function temporary(): Promise<AsyncDisposable & { path: string }> {
  const path = await mkdtemp(join(tmpdir(), 'dploy-command-'))
  return { path, [Symbol.asyncDispose]: () => rm(path, { recursive: true, force: true }) }
}
