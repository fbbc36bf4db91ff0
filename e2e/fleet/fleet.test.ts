// Needs the machine to itself.
import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { existsSync, globSync, readdirSync, readFileSync } from 'node:fs'
import { connect } from 'node:net'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { after, before, describe, test } from 'node:test'
import { setTimeout as delay } from 'node:timers/promises'
import { runCommand } from './command.ts'
import { Fleet, unavailable } from './fleet.ts'
import { interfaces, isFleetAddress } from './network.ts'
import { ownerOf } from './owner.ts'
import { diskDirectory, runDirectory } from './run.ts'

const skip = unavailable() ?? false

describe('a fleet of two servers', { skip, timeout: 240_000 }, () => {
  let fleet: Fleet

  before(async () => {
    fleet = await Fleet.up({ servers: 2, name: 'fleet.test.ts', bind: { '/opt/there': import.meta.dirname } })
  })
  after(async () => {
    await fleet[Symbol.asyncDispose]()
    assert.deepEqual(await leftOf(fleet.number), [])
  })

  test('runs a systemd of its own on each', async () => {
    for (const server of fleet.servers) {
      assert.equal((await server.mustExec('systemctl', ['is-system-running'])).trim(), 'running')
      assert.equal((await server.mustExec('cat', ['/proc/1/comm'])).trim(), 'systemd')
      assert.equal((await server.mustExec('hostname')).trim(), server.name)
    }
    const ids = await Promise.all(fleet.servers.map((server) => server.read('/etc/machine-id')))
    assert.notEqual(ids[0], ids[1])
  })

  test('has bare servers', async () => {
    for (const program of ['node', 'python3', 'git', 'curl'])
      assert.notEqual((await fleet.server('web1').exec('sh', ['-c', 'command -v "$1"', 'sh', program])).code, 0)
  })

  test("answers the machine's own ssh, and its host key is known", async () => {
    for (const { name, ssh } of fleet.servers) {
      const byName = await runCommand('ssh', ['-F', ssh.configFile, name, 'hostname'], { timeout: 10_000 })
      assert.deepEqual([byName.code, byName.stdout, byName.stderr], [0, `${name}\n`, ''])
    }
    const { ssh } = fleet.server('web2')
    const options = ['-o', 'BatchMode=yes', '-o', `UserKnownHostsFile=${ssh.knownHostsFile}`, '-i', ssh.identityFile]
    assert.equal(
      (
        await runCommand('ssh', [...options, '-p', String(ssh.port), `${ssh.user}@${ssh.host}`, 'hostname'], {
          timeout: 10_000,
        })
      ).stdout,
      'web2\n',
    )
  })

  test('runs commands with their input, output, code and time limit', async () => {
    const server = fleet.server('web1')
    assert.deepEqual(
      await server.exec('sh', ['-c', 'cat; echo "$1" >&2; exit 7', 'sh', "it's $HOME"], { stdin: 'in' }),
      { code: 7, signal: null, stdout: 'in', stderr: "it's $HOME\n" },
    )
    await assert.rejects(server.exec('sleep', ['4321'], { timeout: 200 }), /took longer than 200 ms/)
    assert.doesNotMatch(await server.mustExec('ps', ['-e', '-o', 'args']), /sleep 4321/)
    await assert.rejects(server.mustExec('false'), /false .* on web1 ended with 1/)
  })

  test('keeps its files to itself', async () => {
    await fleet.server('web1').write('/srv/deep/down/note', 'one', 0o640)
    assert.equal(await fleet.server('web1').read('/srv/deep/down/note'), 'one')
    assert.match(await fleet.server('web1').mustExec('stat', ['-c', '%a %U', '/srv/deep/down/note']), /^640 root$/m)
    assert.equal(readFileSync(join(fleet.server('web1').root, 'srv/deep/down/note'), 'utf8'), 'one')
    assert.notEqual((await fleet.server('web2').exec('test', ['-e', '/srv/deep'])).code, 0)
  })

  test('shows what is bound, read-only', async () => {
    assert.match(await fleet.server('web2').mustExec('ls', ['/opt/there']), /fleet\.test\.ts/)
    assert.notEqual((await fleet.server('web2').exec('touch', ['/opt/there/new'])).code, 0)
  })

  test('reaches the host and each other, and nothing else', async () => {
    assert.ok(isFleetAddress(fleet.hostAddress))
    assert.ok(!isFleetAddress('192.0.2.1'))
    assert.match(
      await fleet.server('web1').mustExec('ip', ['-4', 'route']),
      /^10\.231\.\d+\.0\/24 [^\n]*\n$|^172\.29[^\n]*\n$|^198\.18[^\n]*\n$/,
    )
    assert.equal(await fleet.server('web1').mustExec('bash', ['-c', 'exec 3<>/dev/tcp/web2/22; head -c 4 <&3']), 'SSH-')
  })

  test('counts the time that its processors take', async () => {
    const before = fleet.server('web1').cpuSeconds
    await fleet
      .server('web1')
      .mustExec(
        'systemd-run',
        ['--wait', '--quiet', 'sh', '-c', 'i=0; while [ $i -lt 200000 ]; do i=$((i + 1)); done'],
        { timeout: 30_000 },
      )
    assert.ok(fleet.server('web1').cpuSeconds - before > 0.05, 'the loop of the unit is in it')
  })

  test('can be unplugged and plugged in again', async () => {
    const server = fleet.server('web1')
    assert.equal(await reach(server.address), 'reached')
    await server.cutNetwork()
    assert.equal(await reach(server.address), 'nothing')
    assert.equal((await server.exec('systemctl', ['is-system-running'])).stdout, 'running\n')
    await server.restoreNetwork()
    assert.equal(await reach(server.address), 'reached')
  })

  test('can be shut down and booted again, with its files', async () => {
    const server = fleet.server('web2')
    await server.mustExec('sh', ['-c', 'echo kept >/srv/file'])
    await server.poweroff()
    assert.equal(server.isOn, false)
    await assert.rejects(server.exec('true'), /web2 is off/)
    assert.ok(!readFileSync('/proc/self/mountinfo', 'utf8').includes(server.root))
    await server.boot()
    assert.equal(await server.read('/srv/file'), 'kept\n')
    assert.match(readFileSync(server.consoleLog, 'utf8'), /System Shutdown|Reached target.*(Power-Off|Halt|Shutdown)/i)
  })

  test('can lose its power and boot again', async () => {
    const server = fleet.server('web1')
    await server.mustExec('systemd-run', ['--unit=endless', 'sleep', '1000'])
    await server.kill()
    assert.equal(server.isOn, false)
    await server.boot()
    assert.notEqual((await server.exec('systemctl', ['is-active', 'endless'])).code, 0)
    assert.equal((await server.mustExec('systemctl', ['is-system-running'])).trim(), 'running')
    assert.equal(fleet.server('web2').isOn, true)
  })
})

test('a fleet whose owner is killed is taken down all the same', { skip, timeout: 120_000 }, async () => {
  const owner = spawn(process.execPath, [join(import.meta.dirname, 'fixtures/owner.ts')], {
    stdio: ['ignore', 'pipe', 'inherit'],
  })
  const ended = once(owner, 'exit')
  const [line] = (await once(createInterface(owner.stdout), 'line')) as [string]
  const { number } = JSON.parse(line) as { number: number }
  assert.notDeepEqual(await leftOf(number), [])
  owner.kill('SIGKILL')
  await ended
  const patience = AbortSignal.timeout(15_000)
  while (existsSync(runDirectory(number))) await delay(50, undefined, { signal: patience })
  assert.deepEqual(await leftOf(number), [])
})

test('a fleet whose owner and watchdog are killed is taken down by the next', { skip, timeout: 120_000 }, async () => {
  const owner = spawn(process.execPath, [join(import.meta.dirname, 'fixtures/owner.ts')], {
    stdio: ['ignore', 'pipe', 'inherit'],
  })
  const ended = once(owner, 'exit')
  const [line] = (await once(createInterface(owner.stdout), 'line')) as [string]
  const { number } = JSON.parse(line) as { number: number }
  const watchdogs = readFileSync(`/proc/${owner.pid}/task/${owner.pid}/children`, 'utf8')
    .trim()
    .split(' ')
    .map(Number)
    .filter((pid) => readFileSync(`/proc/${pid}/cmdline`, 'utf8').includes('watchdog.ts'))
  assert.equal(watchdogs.length, 1)
  process.kill(watchdogs[0]!, 'SIGKILL')
  owner.kill('SIGKILL')
  await ended
  assert.notDeepEqual(await leftOf(number), [])
  await using next = await Fleet.up({ servers: 1, name: 'the next' })
  // The number may have been given to the next one: then what is there is its one server, not the two of before.
  assert.deepEqual(
    (await leftOf(number)).filter((what) => next.number !== number || what.includes('web2')),
    [],
  )
})

async function reach(address: string): Promise<'reached' | 'nothing'> {
  return await new Promise((resolve) => {
    const socket = connect({ host: address, port: 22 })
    const finish = (answer: 'reached' | 'nothing'): void => {
      clearTimeout(timer)
      socket.destroy()
      resolve(answer)
    }
    const timer = setTimeout(() => finish('nothing'), 700)
    socket.once('data', () => finish('reached'))
    socket.once('error', () => finish('nothing'))
  })
}

/** Everything of a fleet that exists on this machine. */
async function leftOf(number: number): Promise<string[]> {
  const run = `dpf${number}`
  const isOf = (name: string): boolean => new RegExp(`\\b${run}(\\b|-|\\.)`).test(name)
  // One that has ended, and is only not forgotten yet, has no command line any more.
  const processes = readdirSync('/proc').filter(
    (pid) =>
      /^\d+$/.test(pid) &&
      ownerOf(Number(pid)) &&
      isOf(readIfThere(`/proc/${pid}/cgroup`)) &&
      readIfThere(`/proc/${pid}/cmdline`) !== '',
  )
  return [
    ...readFileSync('/proc/self/mountinfo', 'utf8')
      .split('\n')
      .filter((mount) => isOf(mount) || mount.includes(`${diskDirectory(number)}/`)),
    ...(existsSync('/run/netns') ? readdirSync('/run/netns') : []).filter(isOf),
    ...interfaces().filter(isOf),
    ...globSync(`/sys/fs/cgroup/{,*/}${run}`),
    ...globSync(`/run/systemd/nspawn/*/${run}-*`),
    ...processes.map((pid) => `process ${pid}: ${readIfThere(`/proc/${pid}/cmdline`).replaceAll('\0', ' ')}`),
    ...[diskDirectory(number), runDirectory(number)].filter((path) => existsSync(path)),
  ]
}

function readIfThere(path: string): string {
  try {
    return readFileSync(path, 'utf8')
  } catch {
    return ''
  }
}

test('bin/fleet: up, list, exec and down', { skip, timeout: 120_000 }, async () => {
  const program = join(import.meta.dirname, '../../bin/fleet')
  const fleet = (...args: string[]) => runCommand(program, args, { timeout: 60_000 })
  const up = await fleet('up', '1', '--bind', `/opt/there=${import.meta.dirname}`)
  assert.equal(up.code, 0, up.stderr)
  const number = /^fleet (\d+): ssh -F \S+ web1; this machine is [\d.]+ there$/m.exec(up.stdout)?.[1]
  assert.ok(number, up.stdout)
  try {
    const server = `${number}/web1`
    const { stdout: listed } = await fleet('list')
    assert.match(listed, new RegExp(`^fleet ${number}: by hand \\(stays\\)\\n {2}web1 +[\\d.]+ +on$`, 'm'))
    assert.deepEqual(
      await fleet('exec', server, '--', 'sh', '-c', 'hostname; ls /opt/there/main.ts; exit 3').then(
        ({ code, stdout }) => [code, stdout],
      ),
      [3, 'web1\n/opt/there/main.ts\n'],
    )
    const wrong = await fleet('exec', `${number}/web9`, '--', 'true')
    assert.equal(wrong.code, 1)
    assert.match(wrong.stderr, /^fleet: The fleet has no server web9; it has web1\n$/)
  } finally {
    // By its number: what a person has up stays.
    const down = await fleet('down', number)
    assert.equal(down.code, 0, down.stderr)
    assert.match(down.stdout, new RegExp(`^took down ${number}\\b`))
  }
  assert.doesNotMatch((await fleet('list')).stdout, new RegExp(`^fleet ${number}:`, 'm'))
  assert.deepEqual(await leftOf(Number(number)), [])
})
