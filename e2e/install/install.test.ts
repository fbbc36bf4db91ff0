import assert from 'node:assert/strict'
import { spawn, type ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { closeSync, existsSync, mkdtempSync, openSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { after, before, describe, test } from 'node:test'
import { setTimeout as delay } from 'node:timers/promises'
import type { Connection } from '../../src/cli/connect.ts'
import { overSocket } from '../../src/cli/socket-client.ts'
import { ended, program, type Ended } from '../commands/team.ts'
import { Fleet, unavailable, type Server } from '../fleet/fleet.ts'
import { openBrowser, signInWith, skip as noBrowser } from '../web/browser.ts'
import { freePorts } from '../world.ts'
import { copyCurl } from './curl.ts'

const skip = unavailable() ?? (existsSync('/usr/bin/curl') ? false : 'this machine has no curl to lend to the servers')

describe('agents that are installed on bare servers', { skip, concurrency: 1, timeout: 280_000 }, () => {
  let directory: string
  let fleet: Fleet
  let control: ChildProcess
  let connection: Connection
  let url: string

  before(async () => {
    directory = mkdtempSync(join(tmpdir(), 'dploy-install-'))
    copyCurl(join(directory, 'curl'))
    fleet = await Fleet.up({ servers: 2, name: 'install', bind: { '/opt/curl': join(directory, 'curl') } })
    const [port] = await freePorts(1)
    url = `http://${fleet.hostAddress}:${port}`
    writeFileSync(
      join(directory, 'dploy.yml'),
      JSON.stringify({
        application: 'shop',
        service: { command: 'node server.mjs', port: 3000 },
        environments: { production: { servers: [] } },
      }),
    )
    const log = openSync(join(directory, 'control.log'), 'a')
    control = spawn(process.execPath, [program, 'serve', '--listen', `${fleet.hostAddress}:${port}`, '--json'], {
      cwd: directory,
      stdio: ['ignore', 'pipe', log],
      env: { ...process.env, DPLOY_RUNTIME_URL: 'none' },
    })
    closeSync(log)
    await Promise.race([
      once(createInterface({ input: control.stdout! }), 'line'),
      once(control, 'exit').then(() => Promise.reject(new Error(readFileSync(join(directory, 'control.log'), 'utf8')))),
    ])
    connection = overSocket(join(directory, '.dploy/control.sock'))
  })

  after(async () => {
    await connection?.[Symbol.asyncDispose]()
    if (control && control.exitCode === null) {
      const exit = once(control, 'exit')
      control.kill('SIGKILL')
      await exit
    }
    await fleet?.[Symbol.asyncDispose]()
    rmSync(directory, { recursive: true, force: true })
  })

  const dploy = (...args: string[]): Promise<Ended> =>
    ended(
      spawn(process.execPath, [program, '--ssh-config', fleet.sshConfig, ...args], {
        cwd: directory,
        stdio: ['ignore', 'pipe', 'pipe'],
        env: { ...process.env, DPLOY_URL: '', NO_COLOR: '1', XDG_RUNTIME_DIR: directory, DPLOY_RUNTIME_URL: 'none' },
      }),
    )
  const untilConnected = async (name: string) => {
    for (const deadline = Date.now() + 30_000; ; await delay(50)) {
      const found = (await connection.client.call('servers')).servers.find((server) => server.name === name)
      if (found?.connected) return found
      if (Date.now() > deadline)
        throw new Error(`${name} did not connect:\n${readFileSync(join(directory, 'control.log'), 'utf8')}`)
    }
  }
  /** As a person types it: downloads the script and runs it. */
  const install = (server: Server, ...args: string[]) =>
    server.exec('sh', [
      '-c',
      'ln -sf /opt/curl/run /usr/local/bin/curl; curl -fsSL "$0/install.sh" | sh -s -- "$@"',
      url,
      ...args,
    ])
  const tokensOn = (server: Server) =>
    server.mustExec('sh', [
      '-c',
      'cat /etc/systemd/system/dploy-agent.service /proc/[0-9]*/cmdline /proc/[0-9]*/environ 2>/dev/null | tr "\\0" "\\n" | grep -c dploy_[j]oin_ || true',
    ])

  test('the script wants a token the first time, and says how to get one', async () => {
    const { code, stderr } = await install(fleet.server('web1'))
    assert.equal(code, 1)
    assert.match(stderr, /has not joined yet\n {2}next: .*dploy token join/)
  })

  for (const [what, prepare, says] of [
    ['a wrong token', '', /join token is unknown, used up or expired[^]*next: /],
    ['no systemd', 'mount -t tmpfs none /run/systemd', /does not run systemd\n {2}next: /],
    [
      'an architecture without Node',
      'mkdir -p /tmp/other; printf \'#!/bin/sh\\n[ "$1" = -m ] && echo riscv64 || echo Linux\\n\' >/tmp/other/uname; chmod 755 /tmp/other/uname; PATH=/tmp/other:$PATH',
      /no agent for Linux riscv64\n {2}next: /,
    ],
    [
      'a libc on which Node does not start',
      "for node in /var/lib/dploy/runtime/node-*; do printf '#!/bin/sh\\nexit 1\\n' >$node; done",
      /Node does not run here\n {2}next: .*glibc 2\.28/,
    ],
  ] as const) {
    test(`${what} is told, and nothing is left that starts`, async () => {
      const web2 = fleet.server('web2')
      // In mounts of its own, so that the server is whole again afterwards.
      const { code, stderr } = await web2.exec('unshare', [
        '-m',
        'sh',
        '-c',
        `ln -sf /opt/curl/run /usr/local/bin/curl; ${prepare || ':'}; curl -fsSL "$0/install.sh" | sh -s -- --token dploy_join_wrong`,
        url,
      ])
      assert.notEqual(code, 0)
      assert.match(stderr, says)
      assert.equal(
        (
          await web2.exec('sh', [
            '-c',
            'ls /etc/systemd/system/dploy-agent.service /var/lib/dploy/identity.json 2>/dev/null',
          ])
        ).stdout,
        '',
      )
    })
  }

  test('curl … | sh makes a bare machine a server; no token is left on it', async (context) => {
    const web1 = fleet.server('web1')
    const { token } = await connection.client.call('createJoinToken', { body: {} })
    const began = performance.now()
    const { code, stderr } = await install(web1, '--token', token)
    assert.equal(code, 0, stderr)
    const found = await untilConnected('web1')
    context.diagnostic(`${((performance.now() - began) / 1000).toFixed(1)} s, with Node (${found.agent?.platform})`)
    assert.equal((await tokensOn(web1)).trim(), '0')
    assert.equal((await web1.exec('grep', ['-r', '-l', token, '/var/lib/dploy', '/etc/systemd'])).stdout, '')
    const { stdout } = await web1.exec('systemd-analyze', ['security', '--no-pager', 'dploy-agent.service'])
    const exposure = Number(/exposure level for dploy-agent.service: ([\d.]+)/.exec(stdout)?.[1])
    context.diagnostic(`systemd-analyze security: ${exposure} (9.6 without any hardening)`)
    assert.ok(exposure < 7, stdout)
  })

  test('run again it changes nothing, and the agent is not started anew', async () => {
    const web1 = fleet.server('web1')
    const pid = await web1.mustExec('systemctl', ['show', '--property=MainPID', 'dploy-agent'])
    const { code, stderr } = await install(web1)
    assert.equal(code, 0, stderr)
    assert.equal(await web1.mustExec('systemctl', ['show', '--property=MainPID', 'dploy-agent']), pid)
  })

  test(
    'pasted as the pages show it, the line turns the row that waits into the server',
    { skip: noBrowser },
    async () => {
      await connection.client.call('apply', {
        body: { text: readFileSync(join(directory, 'dploy.yml'), 'utf8'), base: directory },
      })
      const { token } = await connection.client.call('createToken', { body: { note: 'pages', right: 'administer' } })
      await using browser = await openBrowser()
      const { page } = await browser.open()
      await signInWith(page, url, token)
      await page.goto(`${url}/environments/shop/production/servers`)
      await page.getByRole('button', { name: 'Add a server…' }).click()
      const dialog = page.getByRole('dialog')
      await dialog.getByLabel('Its name').fill('web2')
      await dialog.getByRole('button', { name: 'Show the line' }).click()
      await dialog.getByText('waiting for it…').waitFor()
      const line = (await dialog.getByRole('group', { name: 'The line to paste' }).locator('code').innerText()).trim()
      assert.match(line, /^curl -fsSL http\S+\/install\.sh \| sudo sh -s -- --token dploy_join_\S+ --name web2$/)
      // What an attempt from before left there is not what Node is.
      const { code, stderr } = await fleet
        .server('web2')
        .exec('sh', ['-c', `rm -rf /var/lib/dploy; ln -sf /opt/curl/run /usr/local/bin/curl; ${line}`])
      assert.equal(code, 0, stderr)
      await dialog.getByText('arrived: nothing deployed').waitFor()
      await dialog.getByRole('button', { name: 'Done' }).click()
      await page.getByRole('row').filter({ hasText: 'web2' }).getByText('nothing deployed').waitFor()
      // Chromium heeds that header by https alone, and says so.
      assert.deepEqual(
        browser.trouble.filter((one) => !one.includes('Cross-Origin-Opener-Policy')),
        [],
      )
    },
  )

  test('the hardened agent deploys a service that systemd keeps, and runs commands as another user', async () => {
    writeFileSync(
      join(directory, 'other.yml'),
      JSON.stringify({
        application: 'echo',
        service: { command: 'sleep 1000', user: 'nobody' },
        environments: { production: { servers: ['web1'], strategy: { bake: '0s' } } },
      }),
    )
    const deployed = await dploy('--config', 'other.yml', 'deploy', 'production', '--directory', 'curl', '--json')
    assert.equal(deployed.code, 0, deployed.stderr + deployed.stdout.toString())
    const ran = await dploy('--config', 'other.yml', 'exec', 'production', '--user', 'nobody', '--', 'id -un')
    assert.equal(ran.code, 0, ran.stderr)
    assert.match(ran.stdout.toString(), /nobody/)
  })

  test('whose key was forgotten comes back by the line that is printed, over the same directory', async () => {
    const web1 = fleet.server('web1')
    const key = () => web1.mustExec('sha256sum', ['/var/lib/dploy/agent-key.pem'])
    const before = await key()
    const { code, stdout, stderr } = await dploy('server', 'rotate-key', 'web1', '--forget')
    assert.equal(code, 0, stderr)
    const line = /^ {2}(curl -fsSL \S+\/install\.sh \| )sudo (sh -s -- --token \S+ --name web1 --new-key)$/m.exec(
      stdout.toString(),
    )
    assert.ok(line, stdout.toString())
    const rejoined = await web1.exec('sh', ['-c', `${line[1]}${line[2]}`])
    assert.equal(rejoined.code, 0, rejoined.stderr)
    await untilConnected('web1')
    assert.notEqual(await key(), before)
    // Where ssh reaches it, dploy server add does the same.
    assert.equal((await dploy('server', 'rotate-key', 'web1', '--forget')).code, 0)
    const added = await dploy('server', 'add', 'web1')
    assert.equal(added.code, 0, added.stderr)
    assert.equal((await untilConnected('web1')).joined, true)
  })

  test('tags are where they belong, also of a machine that had joined before, or they are refused', async () => {
    const view = async () =>
      (await connection.client.call('server', { params: { server: 'web1' } })).releases.find(
        ({ application, environment }) => application === 'shop' && environment === 'production',
      )
    for (const [tags, all] of [
      [['--tag', 'role=web'], { role: 'web' }],
      [['--tag', 'zone=a'], { role: 'web', zone: 'a' }],
    ] as const) {
      const { code, stderr } = await dploy('server', 'add', 'web1', '--environment', 'production', ...tags)
      assert.equal(code, 0, stderr)
      assert.deepEqual((await view())?.tags, all)
    }
    const nowhere = await dploy('server', 'add', 'web1', '--tag', 'role=web')
    assert.equal(nowhere.code, 1)
    assert.match(nowhere.stderr, /tags role=web say nothing about which environment[^]*next: .*--environment NAME/)
    writeFileSync(
      join(directory, 'listed.yml'),
      JSON.stringify({
        application: 'listed',
        environments: { production: { servers: [{ name: 'web1', tags: { zone: 'b' } }] } },
      }),
    )
    const listed = await dploy(
      '--config',
      'listed.yml',
      'server',
      'add',
      'web1',
      '--environment',
      'production',
      '--tag',
      'role=web',
    )
    assert.equal(listed.code, 1)
    assert.match(
      listed.stderr,
      /lists web1 under production[^]*next: Write it there: \{ name: web1, tags: \{ zone: b, role: web \} \}/,
    )
  })

  test('a machine that belongs to another control plane is not taken for one of this', async () => {
    const web1 = fleet.server('web1')
    await web1.mustExec('cp', ['-p', '/var/lib/dploy/identity.json', '/root/identity.json'])
    try {
      await web1.mustExec('sed', [
        '-i',
        's/"control":"[^"]*"/"control":"http:\\/\\/other.example:4800"/; s/MCowBQYDK2VwAyEA[A-Za-z0-9+\\/=]*/MCowBQYDK2VwAyEAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=/',
        '/var/lib/dploy/identity.json',
      ])
      for (const { code, stderr } of [await install(web1), await dploy('server', 'add', 'web1')]) {
        assert.notEqual(code, 0)
        assert.match(stderr, /belongs to another control plane, at http:\/\/other\.example:4800[^]*next: .*--new-key/)
      }
    } finally {
      await web1.mustExec('mv', ['/root/identity.json', '/var/lib/dploy/identity.json'])
    }
  })

  test('--uninstall takes the agent off and leaves the application running', async () => {
    const web1 = fleet.server('web1')
    const { code, stderr } = await install(web1, '--uninstall')
    assert.equal(code, 0, stderr)
    assert.notEqual((await web1.exec('systemctl', ['is-active', 'dploy-agent'])).stdout.trim(), 'active')
    assert.equal((await web1.exec('test', ['-e', '/var/lib/dploy/identity.json'])).code, 1)
    assert.equal((await web1.exec('systemctl', ['is-active', 'dploy-echo-production'])).stdout.trim(), 'active')
  })
})
