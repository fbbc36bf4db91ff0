// Needs the machine to itself.
import assert from 'node:assert/strict'
import { readFileSync, rmSync } from 'node:fs'
import { connect } from 'node:net'
import { join } from 'node:path'
import { after, before, describe, test } from 'node:test'
import { setTimeout as delay } from 'node:timers/promises'
import { unavailable } from '../fleet/fleet.ts'
import { freePorts, World } from '../world.ts'

function tellHaproxy(socket: string, words: string): Promise<void> {
  return new Promise((resolve, reject) => {
    const connection = connect(socket, () => connection.end(`${words}\n`))
    connection
      .on('error', reject)
      .on('close', () => resolve())
      .resume()
  })
}

type Changes = NonNullable<Parameters<World['configure']>[0]>
interface Cause {
  id: string
  servers: string[]
  step: string | null
  requests: number
  evidence: string[]
  suggestion: { where: string; lines: string[] }
}
interface Seen {
  number: number
  failed: number
  stalled: number
  causes: Cause[]
}

const reason = unavailable()

/** Each fault is planted where it bites: what draining prevents anyway has no drain, or is a matter of time alone. */
describe(
  'planted faults: the receipt names the cause and the server, and what it suggests makes the next deployment clean',
  { skip: reason ?? false, concurrency: 1, timeout: 280_000 },
  () => {
    let world: World
    /** A HAProxy backend that checks every 10 s, and does not try again. */
    let seldom: string
    let number = 0

    before(async () => {
      const [port] = await freePorts(1)
      seldom = `http://127.0.0.1:${port}/`
      world = await World.up({
        servers: 2,
        strategy: { batch: 1, bake: '300ms' },
        haproxy: (servers) => `  http-after-response set-header x-served-by %s
frontend seldom
  bind 127.0.0.1:${port}
  default_backend seldom
backend seldom
  balance roundrobin
  retries 0
  no option redispatch
  option httpchk GET /healthz
  http-after-response set-header x-served-by %s
${servers.map(({ name, address }) => `  server ${name} ${address}:3000 check inter 10s`).join('\n')}
`,
      })
      await world.commit(
        { 'server.mjs': readFileSync(join(import.meta.dirname, 'application.mjs'), 'utf8') },
        'Have faults',
      )
    })
    after(async () => world?.[Symbol.asyncDispose]())

    /** Deploys these words with this configuration and answers what the receipt, and so `dploy explain`, says of it. */
    const deploy = async (words: string, changes: Changes = {}, files: Record<string, string> = {}): Promise<Seen> => {
      await world.configure({
        ...changes,
        environment: { probe: { url: world.url, interval: '10ms' }, ...changes.environment },
      })
      await world.commit({ 'version.txt': `v${++number} ${words}\n`, ...files }, `Version ${number}`)
      const { result } = await world.dploy('deploy', 'production')
      assert.equal(result.state, 'succeeded', result.failure?.message)
      const { traffic, causes } = result.receipt as unknown as {
        traffic: { failed: number; stalled: number }
        causes: Cause[]
      }
      assert.deepEqual(((await world.show('explain', String(result.deployment))) as { causes: Cause[] }).causes, causes)
      return { number: result.deployment!, failed: traffic.failed, stalled: traffic.stalled, causes }
    }
    const names = (seen: Seen, id: string, servers: string[], step: string | null, lines: string[]) => {
      const told = JSON.stringify(seen, null, 1)
      const [cause] = seen.causes
      assert.equal(cause?.id, id, told)
      assert.deepEqual([cause.servers, cause.step], [servers, step], told)
      assert.deepEqual(cause.suggestion.lines, lines)
      assert.ok(cause.evidence.length > 0)
    }
    const ready = async () => {
      const deadline = Date.now() + 10_000
      while ((await world.answers()).some((answer) => !answer.startsWith('v'))) {
        assert.ok(Date.now() < deadline, 'the servers do not become ready')
        await delay(50)
      }
    }
    const isClean = ({ failed, causes }: Seen, but: string[] = []) => {
      assert.equal(failed, 0, JSON.stringify(causes))
      // A busy machine stalls requests now and then; that is outside dploy's doing, and called so.
      assert.deepEqual(
        causes.map(({ id }) => id).filter((id) => id !== 'outside' && !but.includes(id)),
        [],
        JSON.stringify(causes),
      )
    }

    test('an application that ignores SIGTERM', async () => {
      const stop = { timeout: '2s' }
      await deploy('deaf@web2', { service: { stop } })
      const seen = await deploy('deaf@web2', { service: { stop } })
      names(seen, 'stop_ignored', ['web2'], 'switch', ['service:', '  stop:', '    signal: SIGKILL'])
      assert.equal(seen.failed, 0)
      // A release is ended as it said itself: the suggestion holds from the release on that has it.
      const killed = { service: { stop: { ...stop, signal: 'SIGKILL' } } }
      await deploy('deaf@web2', killed)
      isClean(await deploy('deaf@web2', killed))
    })

    test('an application that closes its socket at once, where the drain does not wait', async () => {
      const impatient = {
        environment: { timeouts: { drain: '0s' }, probe: { url: world.url, interval: '10ms', post: '/' } },
      }
      await deploy('page=300 abrupt@web2', impatient)
      const seen = await deploy('page=300 abrupt@web2', impatient)
      names(seen, 'socket_closed_at_once', ['web2'], 'switch', [
        'environments:',
        '  production:',
        '    timeouts:',
        '      drain: 30s',
      ])
      isClean(
        await deploy('page=300 abrupt@web2', { environment: { ...impatient.environment, timeouts: { drain: '30s' } } }),
      )
    })

    test('an application that is healthy before it is ready', async () => {
      // The guard would go back at once: here the release is to stay, so that its causes are told.
      const unguarded = { strategy: { guard: 'off' } }
      await deploy('', unguarded)
      names(await deploy('ready=1500@web2', unguarded), 'not_ready', ['web2'], 'health', [
        'service:',
        '  health:',
        '    path: /',
        '    successes: 3',
      ])
      await ready()
      isClean(await deploy('ready=1500@web2', { service: { health: { path: '/', successes: 3, timeout: '10s' } } }))
    })

    test('a keep-alive timeout shorter than the balancer keeps connections', async () => {
      const posts = {
        environment: { probe: { url: world.url, interval: '20ms', post: '/' } },
        strategy: { bake: '1500ms' },
      }
      await deploy('keepalive=30@web2', posts)
      let seen = await deploy('keepalive=30@web2', posts)
      // It is a race: a request has to come in the instant in which the connection is closed.
      for (let more = 5; seen.failed === 0 && more > 0; more--) seen = await deploy('keepalive=30@web2', posts)
      names(seen, 'keep_alive_race', ['web2'], null, [
        'server.keepAliveTimeout = 75_000   // Node; gunicorn: --keep-alive 75; puma: persistent_timeout 75',
      ])
      await deploy('keepalive=75000@web2', posts)
      isClean(await deploy('keepalive=75000@web2', posts))
    })

    test('an application that drops what it answers when the new release has taken over beside it', async () => {
      const beside = {
        service: { handover: 'socket' },
        environment: { probe: { url: world.url, interval: '10ms', post: '/' } },
      }
      await deploy('page=300 abrupt@web2', beside)
      const seen = await deploy('page=300 abrupt@web2', beside)
      names(seen, 'socket_closed_at_once', ['web2'], 'switch', [
        "process.on('SIGTERM', () => server.close(() => process.exit(0)))   // Node",
      ])
      await deploy('page=300', beside)
      isClean(await deploy('page=300', beside))
    })

    test('a hook that stops the service', async () => {
      const command = 'systemctl stop dploy-shop-production'
      await deploy('')
      names(
        await deploy('', { extra: { hooks: { after_stage: command } } }),
        'hook_stopped_service',
        ['web1', 'web2'],
        'after_stage',
        ['hooks:', `  before_activate: "${command}"`],
      )
      isClean(await deploy('', { extra: { hooks: { before_activate: command } } }))
    })

    test('a balancer that checks every 10 s, and that nobody tells', async () => {
      const untold = { environment: { balancer: { kind: 'none' }, probe: { url: seldom, interval: '10ms' } } }
      await deploy('boot=800', untold)
      // What it saw of the tests before is 10 s old.
      for (const { name } of world.servers)
        await tellHaproxy(join(world.directory, 'haproxy.sock'), `set server seldom/${name} health up`)
      names(await deploy('boot=800', untold), 'balancer_unaware', ['web1', 'web2'], 'boot', [
        'environments:',
        '  production:',
        '    balancer:',
        '      kind: haproxy',
        '      address: unix:/run/haproxy/admin.sock',
        '      backend: NAME',
      ])
      const told = {
        kind: 'haproxy',
        address: `unix:${join(world.directory, 'haproxy.sock')}`,
        backend: ['shop', 'seldom'],
      }
      isClean(await deploy('boot=800', { environment: { ...untold.environment, balancer: told } }))
    })

    test('an asset of the old release that is gone with the new one', async () => {
      const asks = (name: string) => ({
        environment: { probe: { url: `${world.url}assets/${name}.css`, interval: '10ms' } },
      })
      await deploy('', asks('one'), { 'public/assets/one.css': 'one' })
      rmSync(join(world.repository, 'public/assets/one.css'))
      const seen = await deploy('', asks('one'), { 'public/assets/two.css': 'two' })
      names(seen, 'old_assets_missing', ['web1', 'web2'], 'switch', ['release:', '  assets: [public/assets]'])
      const both = { extra: { release: { assets: ['public/assets'] } } }
      rmSync(join(world.repository, 'public/assets/two.css'))
      isClean(await deploy('', { ...asks('two'), ...both }, { 'public/assets/three.css': 'three' }))
    })

    test('an application that takes long to start', async () => {
      await deploy('')
      const seen = await deploy('boot=3500@web2')
      names(seen, 'slow_boot', ['web2'], 'boot', ['service:', '  handover: port'])
      // The first release that listens behind a hand-over still replaces one that does not.
      await deploy('boot=3500@web2', { service: { handover: 'port' } })
      isClean(await deploy('boot=3500@web2', { service: { handover: 'port' } }))
    })
  },
)
