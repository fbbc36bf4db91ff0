import assert from 'node:assert/strict'
import { execFileSync, spawn, type ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { closeSync, mkdirSync, openSync, readFileSync, writeFileSync } from 'node:fs'
import { createServer } from 'node:http'
import { connect, type AddressInfo, type Socket } from 'node:net'
import { join } from 'node:path'
import { after, before, describe, test } from 'node:test'
import { setTimeout as delay } from 'node:timers/promises'
import { createServer as createTlsServer } from 'node:tls'
import { fileURLToPath } from 'node:url'
import { Team } from '../commands/team.ts'

const agentMain = fileURLToPath(new URL('../../src/agent/main.ts', import.meta.url))
const password = 'p@ss'

describe('agents behind an HTTP proxy', { timeout: 100_000, concurrency: 1 }, () => {
  let team: Team
  let address: string
  /** Whom the proxy was asked for, and the connections through it. */
  const asked: string[] = []
  const open = new Set<Socket>()
  const agents: ChildProcess[] = []
  let credentials: string | null = null

  const proxy = createServer((_, response) => response.writeHead(405).end())
  proxy.on('connect', (request, near: Socket) => {
    asked.push(request.url!)
    near.on('error', () => {})
    if (credentials !== null && request.headers['proxy-authorization'] !== credentials)
      return void near.end('HTTP/1.1 407 Proxy Authentication Required\r\n\r\n')
    const { hostname, port } = new URL(`http://${request.url}`)
    const far = connect(Number(port), hostname, () => {
      near.write('HTTP/1.1 200 Connection established\r\n\r\n')
      near.pipe(far).pipe(near)
    })
    far.on('error', () => {})
    open.add(near)
    near.on('close', () => open.delete(near) && far.destroy())
    far.on('close', () => near.destroy())
  })

  before(async () => {
    team = await Team.up({ servers: 1 })
    await new Promise<void>((resolve) => proxy.listen(0, '127.0.0.1', resolve))
    address = `127.0.0.1:${(proxy.address() as AddressInfo).port}`
  })
  after(async () => {
    for (const agent of agents) {
      if (agent.exitCode !== null || agent.signalCode !== null) continue
      const exit = once(agent, 'exit')
      agent.kill('SIGKILL')
      await exit
    }
    for (const socket of open) socket.destroy()
    proxy.close()
    await team?.[Symbol.asyncDispose]()
  })

  const start = async (name: string, environment: NodeJS.ProcessEnv, url = team.url) => {
    const { token } = await team.client.call('createJoinToken', { body: { uses: 1 } })
    mkdirSync(team.root(name))
    const log = openSync(join(team.directory, `${name}.log`), 'a')
    const args = [
      agentMain,
      'run',
      '--name',
      name,
      '--state',
      join(team.root(name), 'state'),
      '--root',
      team.root(name),
      '--join',
      url,
      '--tethered',
    ]
    const agent = spawn(process.execPath, args, {
      stdio: ['pipe', log, log],
      env: { ...process.env, https_proxy: '', no_proxy: '', NO_PROXY: '', ...environment, DPLOY_JOIN_TOKEN: token },
    })
    closeSync(log)
    agents.push(agent)
    return agent
  }
  const log = (name: string) => readFileSync(join(team.directory, `${name}.log`), 'utf8')
  const until = async (check: () => boolean | Promise<boolean>, name: string) => {
    for (const deadline = Date.now() + 20_000; !(await check()); await delay(20))
      assert.ok(Date.now() < deadline, log(name))
  }
  const present = (name: string) =>
    until(
      async () =>
        (await team.client.call('servers')).servers.some((server) => server.name === name && server.connected),
      name,
    )

  test('join, connect and come back through it', async () => {
    await start('plain', { HTTPS_PROXY: `http://${address}` })
    await present('plain')
    const { host } = new URL(team.url)
    assert.deepEqual(asked, [host, host])
    for (const socket of open) socket.destroy()
    await until(() => asked.length > 2, 'plain')
    await present('plain')
  })

  test('take its address without http:// too, as curl does', async () => {
    const before = asked.length
    await start('short', { HTTPS_PROXY: address })
    await present('short')
    assert.ok(asked.length > before)
  })

  for (const [name, exception] of [
    ['host', () => 'example.org, 127.0.0.1'],
    ['port', () => new URL(team.url).host],
  ] as const) {
    test(`go around it where NO_PROXY names the ${name}`, async () => {
      await start(name, { HTTPS_PROXY: 'http://127.0.0.1:1', NO_PROXY: exception() })
      await present(name)
    })
  }

  test('tell it who they are', async () => {
    credentials = `Basic ${Buffer.from(`me:${password}`).toString('base64')}`
    await start('known', { HTTPS_PROXY: `http://me:${encodeURIComponent(password)}@${address}` })
    await present('known')
    credentials = null
  })

  test('speak TLS with a control plane named by host or by IP address, straight or through it, and only with one that their authority vouches for', async () => {
    const path = (file: string) => join(team.directory, file)
    const openssl = (...args: string[]) => execFileSync('openssl', args, { stdio: ['ignore', 'pipe', 'pipe'] })
    const authority = (name: string) =>
      openssl(
        'req',
        '-x509',
        '-newkey',
        'ec',
        '-pkeyopt',
        'ec_paramgen_curve:prime256v1',
        '-nodes',
        '-days',
        '2',
        '-subj',
        `/CN=${name}`,
        '-keyout',
        path(`${name}.key`),
        '-out',
        path(`${name}.pem`),
      )
    authority('ours')
    authority('another')
    writeFileSync(path('names'), 'subjectAltName=DNS:localhost,IP:127.0.0.1\n')
    openssl(
      'req',
      '-newkey',
      'ec',
      '-pkeyopt',
      'ec_paramgen_curve:prime256v1',
      '-nodes',
      '-subj',
      '/CN=control',
      '-keyout',
      path('control.key'),
      '-out',
      path('control.csr'),
    )
    openssl(
      'x509',
      '-req',
      '-in',
      path('control.csr'),
      '-CA',
      path('ours.pem'),
      '-CAkey',
      path('ours.key'),
      '-CAcreateserial',
      '-days',
      '2',
      '-extfile',
      path('names'),
      '-out',
      path('control.pem'),
    )
    // As a proxy does that ends TLS before the control plane.
    const near = new Set<Socket>()
    const tls = createTlsServer(
      { key: readFileSync(path('control.key')), cert: readFileSync(path('control.pem')) },
      (socket) => {
        near.add(socket)
        const far = connect(Number(new URL(team.url).port), '127.0.0.1')
        socket.on('error', () => far.destroy()).on('close', () => far.destroy())
        far.on('error', () => socket.destroy()).on('close', () => socket.destroy())
        socket.pipe(far).pipe(socket)
      },
    )
    tls.on('tlsClientError', () => {})
    await new Promise<void>((resolve) => tls.listen(0, resolve))
    const { port } = tls.address() as AddressInfo
    try {
      const trusting = { NODE_EXTRA_CA_CERTS: path('ours.pem') }
      await Promise.all(
        (
          [
            ['name', 'localhost', {}],
            ['ip', '127.0.0.1', {}],
            ['name-through', 'localhost', { HTTPS_PROXY: address }],
            ['ip-through', '127.0.0.1', { HTTPS_PROXY: address }],
          ] as const
        ).map(async ([how, host, environment]) => {
          await start(`tls-${how}`, { HTTPS_PROXY: '', ...trusting, ...environment }, `https://${host}:${port}`)
          await present(`tls-${how}`)
          assert.doesNotMatch(log(`tls-${how}`), /Warning/)
        }),
      )
      assert.ok(asked.includes(`localhost:${port}`) && asked.includes(`127.0.0.1:${port}`))
      for (const [how, environment] of [
        ['straight', {}],
        ['through', { HTTPS_PROXY: address }],
      ] as const) {
        const agent = await start(
          `wary-${how}`,
          { HTTPS_PROXY: '', NODE_EXTRA_CA_CERTS: path('another.pem'), ...environment },
          `https://127.0.0.1:${port}`,
        )
        if (agent.exitCode === null) await once(agent, 'exit')
        assert.equal(agent.exitCode, 1)
        assert.match(log(`wary-${how}`), /does not answer: .*(certificate|issuer|signature)/)
      }
    } finally {
      for (const socket of near) socket.destroy()
      tls.close()
    }
  })

  for (const [what, proxyOf, says] of [
    ['refuses them', () => `http://me:secret-word@${address}`, /refused .*: 407\n {2}next: Check HTTPS_PROXY/],
    [
      'is not there',
      () => 'http://me:secret-word@127.0.0.1:1',
      /does not answer: .*ECONNREFUSED.*\n {2}next: Check HTTPS_PROXY/,
    ],
    ['is none', () => 'socks5://me:secret-word@127.0.0.1:1', /is not the address of an HTTP proxy\n {2}next: /],
  ] as const) {
    test(`say so when it ${what}, and never its password`, async () => {
      credentials = 'of somebody else'
      const name = what.replaceAll(' ', '-')
      const agent = await start(name, { HTTPS_PROXY: proxyOf() })
      if (agent.exitCode === null) await once(agent, 'exit')
      credentials = null
      assert.equal(agent.exitCode, 1)
      assert.match(log(name), says)
      assert.doesNotMatch(log(name), /secret-word/)
    })
  }
})
