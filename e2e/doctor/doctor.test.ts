import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { after, before, describe, test } from 'node:test'
import { setTimeout as delay } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { ended, type Ended } from '../commands/team.ts'
import { unavailable, type Server } from '../fleet/fleet.ts'
import { World } from '../world.ts'
import { skewed } from './skewed.ts'
import { pathWithDploy, typeLine } from './terminal.ts'

const program = fileURLToPath(new URL('../../src/cli/main.ts', import.meta.url))

interface Finding {
  server: string | null
  severity: string
  code: string
  message: string
  next: string
}

interface Fault {
  what: string
  /** Makes it on the second server; answers what undoes it. */
  make(world: World, server: Server): Promise<() => Promise<unknown>>
  code: string
  /** Null: it is about the whole environment. */
  on: 'web2' | null
  says: RegExp
  next: RegExp
  /** What the next command shows when it is typed. */
  shows?: RegExp
  /** Soon after it was typed nothing is found any more. */
  mended?: true
}

const mounted =
  (options: string, path: string): Fault['make'] =>
  async (world, server) => {
    for (const one of world.servers) await one.mustExec('mkdir', ['-p', path])
    await server.mustExec('mount', ['-t', 'tmpfs', '-o', options, 'tmpfs', path])
    await world.configure({ extra: { release: { directory: `${path}/shop` } } })
    return async () => {
      await server.mustExec('umount', [path])
      await world.configure()
    }
  }

/** Starts the agent of a server with other lines in its unit. */
const unit =
  (
    lines: string,
    prepare: (server: Server) => Promise<unknown> = async () => {},
    restore: (server: Server) => Promise<unknown> = async () => {},
  ): Fault['make'] =>
  async (world, server) => {
    await prepare(server)
    await server.mustExec('mkdir', ['-p', '/etc/systemd/system/dploy-agent.service.d'])
    await server.write('/etc/systemd/system/dploy-agent.service.d/fault.conf', `[Service]\n${lines}\n`)
    await restartAgent(world, server)
    return async () => {
      await server.mustExec('rm', ['/etc/systemd/system/dploy-agent.service.d/fault.conf'])
      await restore(server)
      await restartAgent(world, server)
    }
  }

async function restartAgent(world: World, server: Server): Promise<void> {
  await server.mustExec('systemctl', ['daemon-reload'])
  await server.mustExec('systemctl', ['stop', 'dploy-agent'])
  await untilConnected(world, server, false)
  await server.mustExec('systemctl', ['start', 'dploy-agent'])
  await untilConnected(world, server, true)
}

async function untilConnected(world: World, server: Server, wanted: boolean): Promise<void> {
  for (const deadline = Date.now() + 30_000; ; await delay(100)) {
    const { stdout } = await cli(world, 'status', '--json')
    const status = JSON.parse(stdout.toString()) as { servers: { name: string; connected: boolean }[] }
    if (status.servers.find(({ name }) => name === server.name)!.connected === wanted) return
    assert.ok(Date.now() < deadline, `${server.name} is ${wanted ? 'not' : 'still'} connected`)
  }
}

const beforeTheFirstDeployment: Fault[] = [
  {
    what: 'a full disk',
    make: mounted('size=8m', '/mnt/full'),
    code: 'server.disk_full',
    on: 'web2',
    says: /\/mnt\/full has 8\.\d MB left/,
    next: /^dploy exec production --on web2 -- du -xhd1 \/mnt\/full$/,
    shows: /\/mnt\/full/,
  },
  {
    what: 'no inodes',
    make: mounted('size=500m,nr_inodes=50', '/mnt/inodes'),
    code: 'server.inodes_full',
    on: 'web2',
    says: /room for 49 more files/,
    next: /du --inodes -xd1 \/mnt\/inodes$/,
    shows: /\/mnt\/inodes/,
  },
  {
    what: 'a directory that cannot be written',
    make: mounted('size=500m,ro', '/mnt/ro'),
    code: 'server.not_writable',
    on: 'web2',
    says: /read-only/,
    next: /findmnt -T \/mnt\/ro$/,
    shows: /tmpfs\s+ro/,
  },
  {
    what: 'a taken port',
    async make(_world, server) {
      // The balancer checks it, and cuts the connection.
      await server.mustExec('systemd-run', [
        '--unit=squatter',
        '--quiet',
        '/opt/dploy/node',
        '-e',
        'require("net").createServer((socket) => socket.on("error", () => {})).listen(3000)',
      ])
      for (
        const deadline = Date.now() + 10_000;
        (await server.mustExec('ss', ['-ltnH', 'sport = :3000'])) === '';
        await delay(50)
      )
        assert.ok(Date.now() < deadline)
      return () => server.mustExec('systemctl', ['stop', 'squatter'])
    },
    code: 'server.port_taken',
    on: 'web2',
    says: /Port 3000 is taken by process \d+ of root: .*node -e/,
    next: /^dploy exec production --on web2 -- ps -fp \d+$/,
    shows: /createServer/,
  },
  {
    what: 'an agent whose user may not become root',
    make: async (world, server) => {
      await server.mustExec('useradd', ['--system', 'deploy'])
      await world.configure({ service: { user: 'www-data' } })
      const undo = await unit(
        'User=deploy',
        () => server.mustExec('chown', ['-R', 'deploy', '/var/lib/dploy']),
        () => server.mustExec('chown', ['-R', 'root', '/var/lib/dploy']),
      )(world, server)
      return async () => {
        await undo()
        await world.configure()
      }
    },
    code: 'server.no_sudo',
    on: 'web2',
    says: /runs as deploy.*www-data/,
    next: /^ssh -t \S+ 'echo .*deploy ALL=.*sudoers\.d\/dploy'$/,
  },
  {
    what: 'a clock 40 minutes ahead',
    make: unit('Environment=NODE_OPTIONS=--import=/root/skew.mjs CLOCK_SKEW=2400000', (server) =>
      server.write('/root/skew.mjs', skewed),
    ),
    code: 'server.clock_skew',
    on: 'web2',
    says: /40 min 0 s ahead .* refuses commands/,
    next: /^ssh -t \S+ sudo timedatectl set-ntp true$/,
  },
  {
    what: 'a clock 40 minutes behind',
    make: unit('Environment=NODE_OPTIONS=--import=/root/skew.mjs CLOCK_SKEW=-2400000', (server) =>
      server.write('/root/skew.mjs', skewed),
    ),
    code: 'server.clock_skew',
    on: 'web2',
    says: /(39 min 59|40 min 0) s behind/,
    next: /^ssh -t \S+ sudo timedatectl set-ntp true$/,
  },
  {
    what: 'an agent that does not run',
    async make(world, server) {
      await server.mustExec('systemctl', ['stop', 'dploy-agent'])
      await untilConnected(world, server, false)
      return async () => {
        await server.mustExec('systemctl', ['start', 'dploy-agent'])
        await untilConnected(world, server, true)
      }
    },
    code: 'server.unreachable',
    on: 'web2',
    says: /last connected .* ago/,
    next: /^ssh \S+ systemctl status dploy-agent$/,
  },
  {
    what: 'a balancer that does not know the server',
    async make(world) {
      await world.configure({
        environment: {
          balancer: {
            kind: 'haproxy',
            address: `unix:${join(world.directory, 'haproxy.sock')}`,
            backend: ['shop', 'half'],
          },
        },
      })
      return () => world.configure()
    },
    code: 'balancer.unknown_server',
    on: null,
    says: /backend half .* has no server web2; it has web1/,
    next: /^echo "show servers state" \| socat stdio \/.*haproxy\.sock$/,
  },
  {
    what: 'a balancer that is not there',
    async make(world) {
      await world.configure({
        environment: { balancer: { kind: 'haproxy', address: 'unix:/nonexistent/haproxy.sock', backend: 'shop' } },
      })
      return () => world.configure()
    },
    code: 'balancer.unreachable',
    on: null,
    says: /\/nonexistent\/haproxy\.sock/,
    next: /^ls -l \/nonexistent\/haproxy\.sock$/,
    shows: /No such file/,
  },
  {
    what: 'a secret without a value',
    async make(world) {
      await world.configure({ extra: { secrets: ['DATABASE_URL'] } })
      return () => world.configure()
    },
    code: 'secret.missing',
    on: null,
    says: /DATABASE_URL/,
    next: /^dploy secret list production$/,
    shows: /DATABASE_URL|[Nn]o/,
  },
]

const afterADeployment: Fault[] = [
  {
    what: 'a service that was stopped by hand',
    async make(_world, server) {
      // What follows a deployment still looks at the servers once, and mends what it finds.
      for (const deadline = Date.now() + 20_000; Date.now() < deadline;) {
        await server.mustExec('systemctl', ['stop', 'dploy-shop-production'])
        const mended = Date.now() + 1_500
        let stopped = true
        while (stopped && Date.now() < mended) {
          await delay(100)
          stopped = (await server.exec('systemctl', ['is-active', '--quiet', 'dploy-shop-production'])).code !== 0
        }
        if (stopped) break
      }
      return () => server.mustExec('systemctl', ['start', 'dploy-shop-production'])
    },
    code: 'server.drifted',
    on: 'web2',
    says: /its service is stopped/,
    next: /^dploy logs production --on web2$/,
    shows: /listening: one/,
  },
  {
    what: 'a release that was taken away by hand',
    async make(_world, server) {
      await server.mustExec('rm', ['/srv/shop/current'])
      return async () => {}
    },
    code: 'server.drifted',
    on: 'web2',
    says: /No release serves, and release 1 is wanted/,
    next: /^dploy converge production$/,
    mended: true,
  },
]

function cli(world: World, ...args: string[]): Promise<Ended> {
  return ended(
    spawn(process.execPath, [program, ...args], {
      cwd: world.repository,
      stdio: ['ignore', 'pipe', 'pipe'],
      env: { ...process.env, DPLOY_URL: '', NO_COLOR: '1' },
    }),
  )
}

async function doctor(world: World): Promise<{ code: number | null; findings: Finding[] }> {
  const { code, stdout, stderr } = await cli(world, 'doctor', 'production', '--json')
  assert.notEqual(stdout.length, 0, stderr)
  return { code, findings: (JSON.parse(stdout.toString()) as { findings: Finding[] }).findings }
}

const reason = unavailable()

describe(
  'dploy doctor names each failure that is made, and only where it is',
  { skip: reason ?? false, concurrency: 1, timeout: 280_000 },
  () => {
    let world: World
    before(async () => {
      world = await World.up({
        servers: 2,
        haproxy: ([first]) => `backend half\n  server ${first!.name} ${first!.address}:3000\n`,
      })
      for (const server of world.servers) await untilConnected(world, server, true)
    })
    after(async () => world?.[Symbol.asyncDispose]())

    const type = (line: string) =>
      typeLine(line, {
        directory: world.repository,
        environment: { ...process.env, DPLOY_URL: '', NO_COLOR: '1', PATH: pathWithDploy(world.directory) },
      })
    const finds = (fault: Fault) => async () => {
      const undo = await fault.make(world, world.servers[1]!)
      try {
        const { code, findings } = await doctor(world)
        assert.equal(code, 1)
        const found = findings.filter((finding) => finding.code === fault.code && finding.server === fault.on)
        assert.equal(found.length, 1, JSON.stringify(findings, null, 2))
        assert.match(found[0]!.message, fault.says)
        assert.match(found[0]!.next, fault.next)
        assert.ok(!findings.some((finding) => finding.server === 'web1'), `web1 is well: ${JSON.stringify(findings)}`)
        if (fault.shows) assert.match((await type(found[0]!.next)).shown, fault.shows)
        if (fault.mended) {
          await type(found[0]!.next)
          for (const deadline = Date.now() + 20_000; ; await delay(200)) {
            const { findings: left } = await doctor(world)
            if (left.length === 0) break
            assert.ok(Date.now() < deadline, JSON.stringify(left, null, 2))
          }
        }
      } finally {
        await undo()
      }
    }
    const nothing = async () => {
      const { code, findings } = await doctor(world)
      assert.deepEqual(findings, [])
      assert.equal(code, 0)
    }

    test('nothing before the first deployment, and nothing is made by looking', async () => {
      await world.configure({ extra: { release: { directory: '/srv/elsewhere' } } })
      await nothing()
      for (const server of world.servers)
        assert.equal((await server.exec('test', ['-e', '/srv/elsewhere'])).code, 1, `${server.name} has /srv/elsewhere`)
      await world.configure()
    })
    for (const fault of beforeTheFirstDeployment) test(fault.what, finds(fault))
    test('nothing once all is undone', nothing)
    test('nothing after a deployment', async () => {
      const { result } = await world.dploy('deploy', 'production')
      assert.equal(result.state, 'succeeded', result.failure?.message)
      await nothing()
    })
    test("a directory that is another application's, to which nothing is deployed then", async () => {
      const before = await world.answers()
      await world.configure({ extra: { application: 'blog', release: { directory: '/srv/shop' } } })
      try {
        const { findings } = await doctor(world)
        assert.deepEqual(
          findings.filter(({ code }) => code === 'server.directory_taken').map(({ server }) => server),
          ['web1', 'web2'],
          JSON.stringify(findings),
        )
        assert.match(
          findings.find(({ code }) => code === 'server.directory_taken')!.message,
          /\/srv\/shop holds release 1 of shop in production; give blog a directory of its own/,
        )
        assert.match(
          (await type(findings.find(({ code }) => code === 'server.directory_taken')!.next)).shown,
          /current -> releases\/1/,
        )
        const { result } = await world.dploy('deploy', 'production')
        assert.equal(result.failure?.code, 'server.directory_taken', JSON.stringify(result))
        assert.deepEqual(await world.answers(), before)
      } finally {
        await world.configure()
      }
      await nothing()
    })
    for (const fault of afterADeployment) test(fault.what, finds(fault))

    test('an application that closes idle connections too early', async () => {
      await world.commit({ 'version.txt': 'two keepalive=2000\n' }, 'Close early')
      const { result } = await world.dploy('deploy', 'production')
      assert.equal(result.state, 'succeeded', result.failure?.message)
      const { findings } = await doctor(world)
      assert.deepEqual(
        findings.map(({ server, code }) => [server, code]),
        [
          ['web1', 'service.keep_alive_short'],
          ['web2', 'service.keep_alive_short'],
        ],
      )
      assert.match(findings[0]!.message, /2\.0 s; haproxy keeps them for 10\.0 s/)
      const { stdout } = await cli(world, 'doctor', 'production')
      assert.match(
        stdout.toString(),
        /✗ web1 .*\(service\.keep_alive_short\)\n\s+next: dploy exec production --on web1/,
      )
      // The answer, and after how long the connection was closed.
      assert.match((await type(findings[0]!.next)).shown, /HTTP\/1\.1 [\s\S]*real\s+0m[23]\.\d/)
    })

    for (const handover of ['socket', 'port'] as const) {
      test(`nothing with a warm hand-over by ${handover}: what holds the port is the service`, async () => {
        await world.commit(
          {
            'server.mjs': readFileSync(new URL('../handover/application.mjs', import.meta.url), 'utf8'),
            'version.txt': `${handover}\n`,
          },
          'Hand over',
        )
        await world.configure({ service: { handover } })
        const { result } = await world.dploy('deploy', 'production')
        assert.equal(result.state, 'succeeded', result.failure?.message)
        await nothing()
      })
    }

    test('logs of all servers are merged by time, chosen by text and time', async () => {
      await world.commit({ 'version.txt': 'three\n' }, 'Three')
      const since = Date.now()
      await world.dploy('deploy', 'production')
      const { stdout } = await cli(world, 'logs', 'production', '--grep', 'LISTENING: three', '--json')
      assert.equal(stdout.toString(), '', 'with upper case, case matters')
      const lines = async (...args: string[]) =>
        (await cli(world, 'logs', 'production', '--json', ...args)).stdout
          .toString()
          .trim()
          .split('\n')
          .map((line) => JSON.parse(line) as { server: string; at: number; text: string })
      const all = await lines('--grep', 'listening')
      assert.deepEqual(
        all.map(({ at }) => at),
        all.map(({ at }) => at).sort((a, b) => a - b),
      )
      const late = await lines('--since', new Date(since).toISOString(), '--grep', 'listening')
      assert.deepEqual(late.map(({ server, text }) => [server, text]).sort(), [
        ['web1', 'listening: three'],
        ['web2', 'listening: three'],
      ])
    })
  },
)
