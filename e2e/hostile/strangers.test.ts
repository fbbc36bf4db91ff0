import assert from 'node:assert/strict'
import { randomBytes } from 'node:crypto'
import { on, once } from 'node:events'
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import { after, before, beforeEach, afterEach, describe, test } from 'node:test'
import { setImmediate as turn, setTimeout as delay } from 'node:timers/promises'
import { encodeFrame } from '../../src/protocol/frame.ts'
import { newKeyPair } from '../../src/protocol/signature.ts'
import { protocolNumber } from '../../src/protocol/version.ts'
import { memoryOf, Team } from '../commands/team.ts'
import { arrive, identityOf, openSocket, sendBytes, welcomed, type Claim } from './stranger.ts'

const megabyte = 1024 * 1024

describe('strangers at the control plane', { timeout: 240_000 }, () => {
  let team: Team
  /** A server that is known, whose agent does not run: its key was stolen. */
  let stolen: Claim
  /** Ids of releases: of the server with the stolen key, and of another. */
  let own: string
  let foreign: string
  let logged = 0
  /** Since when web1 and web2 are connected: on the same connections at the end of each test. */
  let since: unknown[]

  before(async () => {
    team = await Team.up({ servers: 3, serve: ['--request-timeout', '3'] })
    mkdirSync(join(team.directory, 'payload'))
    writeFileSync(
      join(team.directory, 'files.yml'),
      JSON.stringify({
        application: 'files',
        environments: { one: { servers: ['web3'] }, other: { servers: ['web2'] } },
      }),
    )
    for (const [environment, server] of [
      ['one', 'web3'],
      ['other', 'web2'],
    ] as const) {
      writeFileSync(join(team.directory, 'payload/secret.txt'), `only for ${environment}`)
      const { code, stderr, stdout } = await team.dploy(
        '--config',
        'files.yml',
        'deploy',
        environment,
        '--directory',
        'payload',
        '--json',
      )
      assert.equal(code, 0, stderr + stdout.toString())
      const { id } = JSON.parse(readFileSync(join(team.root(server), 'srv/files/.dploy/releases/1.json'), 'utf8')) as {
        id: string
      }
      if (environment === 'one') own = id
      else foreign = id
    }
    stolen = identityOf(team.root('web3'))
    since = await sinceWhen()
    const agent = team.agents[2]!
    agent.stdin!.end()
    await once(agent, 'exit')
  })

  after(async () => {
    await team?.[Symbol.asyncDispose]()
  })

  beforeEach(() => {
    logged = readFileSync(team.controlLog).length
  })

  afterEach(async () => {
    // Whatever came, who belongs here is served as before.
    const began = performance.now()
    const connected = async () =>
      (await team.client.call('status', { params: { application: 'shop', environment: 'production' } })).servers
        .filter((server) => server.connected)
        .map(({ name }) => name)
    // Who was let in by a stolen key is on the way out.
    while ((await connected()).includes('web3') && performance.now() - began < 5_000);
    assert.deepEqual(await connected(), ['web1', 'web2'])
    assert.deepEqual(await sinceWhen(), since, 'a connection of others was disturbed')
    assert.ok(performance.now() - began < 5_000)
    assert.ok(memoryOf(team.controlPid) < 700 * megabyte)
  })

  const sinceWhen = () =>
    Promise.all(
      ['web1', 'web2'].map(async (server) => (await team.client.call('server', { params: { server } })).since),
    )
  const log = () => readFileSync(team.controlLog).subarray(logged).toString()
  /** What the control plane says in its log of what it refused, once that is enough; it is written after the answer. */
  const told = async (what: string, enough: number | ((lines: ReturnType<typeof refusals>) => boolean)) => {
    for (const deadline = Date.now() + 3_000; ; await delay(20)) {
      const lines = refusals(what)
      if (typeof enough === 'number' ? lines.length >= enough : enough(lines)) return lines
      assert.ok(Date.now() < deadline, `the log does not say enough of "${what}":\n${log()}`)
    }
  }
  const refusals = (what: string) =>
    log()
      .split('\n')
      .filter((line) => line.includes(`"msg":"${what}`))
      .map(
        (line) =>
          JSON.parse(line) as { code?: string; reason?: string; path?: string; server?: string; times?: number },
      )
  const join_ = (body: unknown) =>
    fetch(`${team.url}/agents/join`, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: typeof body === 'string' ? body : JSON.stringify(body),
    })
  const newToken = async (uses = 1) =>
    (await team.client.call('createJoinToken', { body: { note: 'test', uses } })).token

  test('a join token works once; of ten who come with it at once, one gets in', async () => {
    const token = await newToken()
    const answers = await Promise.all(
      Array.from({ length: 10 }, (_, index) =>
        join_({ token, name: `raced${index}`, publicKey: newKeyPair().publicKey }),
      ),
    )
    assert.deepEqual(answers.map(({ status }) => status).sort(), [200, ...Array.from({ length: 9 }, () => 403)])
    const late = await join_({ token, name: 'late', publicKey: newKeyPair().publicKey })
    assert.equal(late.status, 403)
    const problem = (await late.json()) as { code: string; detail: string }
    assert.equal(problem.code, 'agent.join_refused')
    assert.match(problem.detail, /unknown, used up or expired/)
    assert.ok(!JSON.stringify(problem).includes(token))
    await told(
      'a request of a stranger was refused',
      (lines) =>
        lines.filter(({ code, path }) => code === 'agent.join_refused' && path === '/agents/join').length === 10,
    )
    assert.ok(!log().includes(token))
  })

  test('a join token that has expired, was guessed, or is none, is refused', async () => {
    const token = await newToken()
    const database = new DatabaseSync(join(team.directory, '.dploy/dploy.db'), { timeout: 5_000 })
    database.exec('update tokens set expires_at = 1000 where uses_left = 1')
    database.close()
    for (const one of [token, `dploy_join_${randomBytes(24).toString('base64url')}`, '', 'x'.repeat(200)]) {
      assert.equal((await join_({ token: one, name: 'stranger', publicKey: newKeyPair().publicKey })).status, 403, one)
    }
    await told(
      'a request of a stranger was refused',
      (lines) => lines.filter(({ code }) => code === 'agent.join_refused').length > 0,
    )
  })

  test('the name of a server that has an agent is not taken over, whatever the token', async () => {
    const answer = await join_({ token: await newToken(), name: 'web1', publicKey: newKeyPair().publicKey })
    assert.ok(answer.status >= 400 && answer.status < 500, String(answer.status))
  })

  test('who may join one environment does not become a server that another has on its list and that has no agent yet', async () => {
    const outside = { servers: ['expected', 'awaited'] }
    await team.client.call('apply', {
      body: {
        text: JSON.stringify({ application: 'listed', environments: { inside: { servers: ['own'] }, outside } }),
        base: team.directory,
      },
    })
    const body = { note: 'test', uses: 10, environments: [{ application: 'listed', environment: 'inside' }] }
    const { token } = await team.client.call('createJoinToken', { body })
    for (const name of ['awaited', 'expected']) {
      const answer = await join_({ token, name, publicKey: newKeyPair().publicKey })
      assert.equal(answer.status, 403, name)
      assert.match(((await answer.json()) as { detail: string }).detail, /belongs to outside of listed/)
      assert.equal((await team.client.call('server', { params: { server: name } })).joined, false)
    }
    await told('a request of a stranger was refused', (lines) =>
      lines.some(({ reason }) => reason?.includes('belongs to outside of listed')),
    )
    assert.equal((await join_({ token, name: 'fresh', publicKey: newKeyPair().publicKey })).status, 200)
    // Who makes a token for one name means that server.
    const named = await team.client.call('createJoinToken', { body: { ...body, server: 'awaited' } })
    assert.equal((await join_({ token: named.token, name: 'awaited', publicKey: newKeyPair().publicKey })).status, 200)
  })

  test('a token for three lets three in, also of ten at once, and no fourth', async () => {
    const token = await newToken(3)
    const answers = await Promise.all(
      Array.from({ length: 10 }, (_, index) =>
        join_({ token, name: `third${index}`, publicKey: newKeyPair().publicKey }),
      ),
    )
    assert.deepEqual(answers.map(({ status }) => status).sort(), [
      200,
      200,
      200,
      ...Array.from({ length: 7 }, () => 403),
    ])
  })

  test('a join that is none is told what is wrong, and never with an error of the control plane', async () => {
    const token = await newToken(100)
    const { publicKey } = newKeyPair()
    const bodies: unknown[] = [
      '',
      '{',
      'null',
      '[]',
      '7',
      {},
      { token },
      { token: 7, name: 'x', publicKey },
      { token, name: '../../etc', publicKey },
      { token, name: '', publicKey },
      { token, name: 'ä', publicKey },
      { token, name: 'x'.repeat(64), publicKey },
      { token, name: 'ok', publicKey: 'x'.repeat(2_000) },
      { token, name: 'ok\u0000', publicKey },
      { token, name: 'ok', publicKey, extra: true },
      { token: { $ne: '' }, name: 'ok', publicKey },
    ]
    for (const body of bodies) {
      const answer = await join_(body)
      assert.ok(answer.status >= 400 && answer.status < 500, `${JSON.stringify(body)}: ${answer.status}`)
      assert.match(answer.headers.get('content-type')!, /problem\+json/)
    }
  })

  test('a key that is none is refused when it joins', async () => {
    const answer = await join_({ token: await newToken(), name: 'keyless', publicKey: 'not a key' })
    assert.ok(answer.status >= 400 && answer.status < 500, String(answer.status))
  })

  test('who cannot sign for the server that he names is refused and logged', async () => {
    const stranger = newKeyPair()
    const cases: [string, Claim, (hello: Record<string, unknown>) => Record<string, unknown>][] = [
      ['another key', { server: stolen.server, privateKey: stranger.privateKey }, (hello) => hello],
      ['no such server', { server: 'srv_0000000000000000', privateKey: stranger.privateKey }, (hello) => hello],
      [
        'a signature for another server',
        stolen,
        (hello) => ({ ...hello, server: identityOf(team.root('web1')).server }),
      ],
      ['no signature', stolen, (hello) => ({ ...hello, signature: '' })],
      ['an old signature', stolen, (hello) => ({ ...hello, signature: 'A'.repeat(88) })],
      ['a hello that is none', stolen, () => ({ hello: true })],
      ['a protocol of the future', stolen, (hello) => ({ ...hello, protocol: 999 })],
      [
        'a version that a terminal would obey',
        stolen,
        (hello) => ({ ...hello, version: '1\u001b]52;c;ZXZpbA==\u0007' }),
      ],
      ['a platform as long as a book', stolen, (hello) => ({ ...hello, platform: 'x'.repeat(megabyte) })],
      ['an instance of many lines', stolen, (hello) => ({ ...hello, instance: 'x\nweb1' })],
      ['a time that is none', stolen, (hello) => ({ ...hello, clock: null })],
    ]
    for (const [what, claim, change] of cases) {
      const peer = await arrive(team.url, claim, change)
      const began = performance.now()
      await peer.closed
      assert.ok(performance.now() - began < 5_000, `${what}: it took ${performance.now() - began} ms`)
      await assert.rejects(peer.call('objects', { release: own, digests: [] }), what)
    }
    await told('an agent was refused', cases.length - 1)
  })

  test('an agent that speaks the protocol before this one is worked with', async () => {
    const peer = await arrive(team.url, stolen, (hello) => ({ ...hello, protocol: protocolNumber - 1 }))
    let code: string
    do
      code = await peer.call('objects', { release: 'none', digests: [] }).then(
        () => 'none',
        (error: { code: string }) => error.code,
      )
    while (code === 'unauthorized')
    assert.equal(code, 'release.unknown')
    peer.close('done')
  })

  test('before its hello nobody gets anything', async () => {
    const { socket, ended } = await openSocket(team.url)
    const messages = on(socket, 'message', { signal: AbortSignal.timeout(10_000) })
    socket.send(encodeFrame({ kind: 'call', id: 1, method: 'objects', params: { release: foreign, digests: [] } }))
    let text = ''
    // Beside the control plane's own hello, which it takes back.
    for await (const [message] of messages) if (!/"hello"|"kind":"cancel"/.test((text = String(message)))) break
    assert.match(text, /"error"/)
    assert.match(text, /unauthorized/)
    await told('an agent that had not said hello was refused', 1)
    socket.terminate()
    await ended
  })

  test("a server gets its own releases and no other's, and of its own only what belongs to them", async () => {
    const peer = await welcomed(team.url, stolen)
    const digestOf = (server: string) =>
      readFileSync(join(team.root(server), 'srv/files/.dploy/releases/1.json'), 'utf8').match(
        /"artifact":"([0-9a-f]{64})"/,
      )![1]!
    try {
      let bytes = 0
      await peer.call(
        'manifest',
        { release: own, artifact: digestOf('web3') },
        { onEvent: (_event, body) => (bytes += body.length) },
      )
      assert.ok(bytes > 0)
      await assert.rejects(peer.call('manifest', { release: foreign, artifact: digestOf('web2') }), {
        code: 'release.unknown',
      })
      await assert.rejects(peer.call('manifest', { release: own, artifact: digestOf('web2') }), { code: 'not_found' })
      await assert.rejects(peer.call('objects', { release: foreign, digests: [] }), { code: 'release.unknown' })
      const { createHash } = await import('node:crypto')
      const theirs = createHash('sha256').update('only for other').digest('hex')
      await assert.rejects(peer.call('objects', { release: own, digests: [theirs] }), { code: 'object.missing' })
      for (const params of [
        null,
        7,
        {},
        { release: own, digests: 'all' },
        { release: own, digests: ['../../dploy.db'] },
        { release: "' or 1=1 --", digests: [] },
      ]) {
        await assert.rejects(
          peer.call('objects', params),
          (error: { code: string; message: string }) => error.code !== 'internal' && !error.message.includes('    at '),
          JSON.stringify(params),
        )
      }
      await assert.rejects(peer.call('activate', {}), { code: 'protocol.invalid' })
      const codes = ['release.unknown', 'not_found', 'object.missing', 'protocol.invalid']
      const lines = await told('an agent was refused what it asked for', (some) =>
        codes.every((code) => some.some((line) => line.code === code)),
      )
      assert.ok(lines.every(({ server }) => server === 'web3'))
    } finally {
      peer.close('enough')
      await peer.closed
    }
  })

  test('garbage instead of frames ends the connection', async () => {
    const frame = encodeFrame({ kind: 'result', id: 1, result: {} })
    const wrongLength = Buffer.from(frame)
    wrongLength.writeUInt32BE(0xffffffff, 0)
    const wrongHead = Buffer.from(frame)
    wrongHead.writeUInt32BE(0xffffffff, 4)
    for (const garbage of [
      'text',
      '',
      Buffer.alloc(0),
      Buffer.from('short'),
      randomBytes(64),
      wrongLength,
      wrongHead,
      frame.subarray(0, 12),
      Buffer.concat([frame, frame]),
      encodeFrame('no object'),
      encodeFrame({ kind: 'shell' }),
      encodeFrame({ kind: 'call', id: 'x' }),
    ]) {
      const { socket, ended } = await openSocket(team.url)
      socket.send(garbage)
      const { code } = await ended
      assert.ok([1000, 1002, 1003, 1007, 1008].includes(code), `${String(garbage).slice(0, 20)} ended with ${code}`)
    }
    await told('an agent was refused', 12)
  })

  test('a frame of 100 MB is cut off before it is taken in', async () => {
    const memory = memoryOf(team.controlPid)
    const ends = await Promise.all(
      Array.from({ length: 4 }, async () => {
        const { socket, ended } = await openSocket(team.url)
        socket.send(Buffer.alloc(100 * megabyte), () => {})
        return ended
      }),
    )
    for (const { code } of ends) assert.ok([1006, 1009].includes(code), `it ended with ${code}`)
    assert.ok(memoryOf(team.controlPid) - memory < 200 * megabyte)
    await told('an agent was refused', 4)
  })

  test('twenty who keep a large message half sent before they say who they are get no memory for it', async () => {
    const memory = memoryOf(team.controlPid)
    const half = Buffer.alloc(15 * megabyte)
    const sockets = await Promise.all(Array.from({ length: 20 }, () => openSocket(team.url)))
    for (const { socket } of sockets) socket.send(half, { fin: false, binary: true }, () => {})
    for (const { ended } of sockets) assert.equal((await ended).code, 1006)
    assert.ok(memoryOf(team.controlPid) - memory < 100 * megabyte)
    await told('an agent was refused', 20)
  })

  test('calls whose answers nobody takes are cut off, before the hello and after it', async () => {
    const memory = memoryOf(team.controlPid)
    const began = performance.now()
    const stranger = await openSocket(team.url)
    const known = await welcomed(team.url, stolen)
    const { artifact } = JSON.parse(
      readFileSync(join(team.root('web3'), 'srv/files/.dploy/releases/1.json'), 'utf8'),
    ) as { artifact: string }
    for (const { socket } of [stranger, known]) {
      socket.pause()
      for (let id = 1_000; id < 60_000; id++)
        socket.send(encodeFrame({ kind: 'call', id, method: 'manifest', params: { release: own, artifact } }), () => {})
    }
    // What it would read now is that it was shown out.
    for (const { socket } of [stranger, known]) socket.resume()
    await Promise.all([stranger.ended, known.closed])
    assert.ok(performance.now() - began < 10_000)
    assert.ok(memoryOf(team.controlPid) - memory < 150 * megabyte)
    await told('an agent was refused', 1)
    await told('agent gone', (lines) =>
      lines.some(({ server, reason }) => server === 'web3' && /more at once than is answered/.test(reason ?? '')),
    )
  })

  test('a server leaves notes in the log of its own environment alone, and no more than a hundred', async () => {
    const peer = await welcomed(team.url, stolen)
    try {
      await assert.rejects(peer.call('note', { application: 'files', environment: 'other', text: 'lies' }), {
        code: 'environment.unknown',
      })
      const answers = await Promise.allSettled(
        Array.from({ length: 120 }, (_, index) =>
          peer.call('note', { application: 'files', environment: 'one', text: `note ${index}` }),
        ),
      )
      assert.equal(answers.filter(({ status }) => status === 'fulfilled').length, 99)
      await told('an agent was refused what it asked for', (lines) =>
        lines.some(({ code }) => code === 'protocol.invalid'),
      )
    } finally {
      peer.close('enough')
      await peer.closed
    }
  })

  test('an agent that answers a command with output that does not end, whatever it may send, is shown out; the log of one is cut', async () => {
    const memory = memoryOf(team.controlPid)
    let sent = 0
    const peer = await welcomed(team.url, stolen, async (params, { emit, signal }) => {
      const { method } = JSON.parse((params as { text: string }).text) as { method: string }
      const body = Buffer.alloc(64 * 1024, 'x')
      while (!signal.aborted) {
        if (method === 'exec') await emit({ stream: 'stdout' }, body)
        else await emit({ at: Date.now(), text: 'x'.repeat(2 * megabyte) })
        sent += body.length
        await turn()
      }
    })
    // Nobody reads what comes.
    const stop = new AbortController()
    const place = { application: 'files', environment: 'one' }
    const output = team.client
      .stream(
        'exec',
        {
          params: place,
          body: { command: { line: 'true' }, on: { servers: [], tags: {} }, batch: null, timeout: null, sudo: false },
        },
        { signal: stop.signal },
      )
      [Symbol.asyncIterator]()
    await output.next()
    await peer.closed
    await told('agent gone', (lines) =>
      lines.some(
        ({ server, reason }) =>
          server === 'web3' && /more than the \d+ bytes that may be on their way/.test(reason ?? ''),
      ),
    )
    // Counted where it is sent: beside what was taken, what the kernel's buffers of both ends held when it was shown out.
    assert.ok(sent < 40 * megabyte, `${sent} bytes`)
    await output.return?.(undefined)
    let lines = 0
    const enough = Promise.withResolvers<void>()
    const again = await welcomed(team.url, stolen, async (_params, { emit, signal }) => {
      for (; !signal.aborted; await turn()) {
        await emit({ at: 1, text: `${'x'.repeat(2 * megabyte)}` })
        // 600 MB, of which 20 MB are to be kept for the reader.
        if (++lines === 300) enough.resolve()
      }
    })
    const followed = team.client
      .stream('logs', { params: place, query: { lines: '10', follow: 'true' } }, { signal: stop.signal })
      [Symbol.asyncIterator]()
    const first = (await followed.next()) as IteratorYieldResult<{ text: string }>
    assert.equal(first.value.text.length, 64 * 1024 + 1)
    await enough.promise
    assert.ok(memoryOf(team.controlPid) - memory < 400 * megabyte)
    stop.abort()
    again.close('enough')
    await Promise.all([again.closed, followed.return?.(undefined).catch(() => {})])
  })

  test('of a hook that prints without end the log of the deployment keeps a part', async () => {
    const file = join(team.directory, 'loud.yml')
    writeFileSync(
      file,
      JSON.stringify({
        application: 'loud',
        hooks: { after_stage: { command: 'head -c 40000000 /dev/zero | tr "\\0" x' } },
        environments: { one: { servers: ['web1'] } },
      }),
    )
    const { code, stderr, stdout } = await team.dploy(
      '--config',
      file,
      'deploy',
      'one',
      '--directory',
      'payload',
      '--json',
    )
    assert.equal(code, 0, stderr)
    assert.ok(stdout.length < 18 * megabyte, `${stdout.length} bytes`)
    assert.match(stdout.toString().slice(-20_000), /what this step prints is left out from here on/)
  })

  test('many fragments that never end are one frame too, and cut off', async () => {
    const { socket, ended } = await openSocket(team.url)
    let open = true
    void ended.then(() => (open = false))
    for (let sent = 0; open && sent < 100; sent++)
      await new Promise<void>((resolve) =>
        socket.send(Buffer.alloc(megabyte), { fin: false, binary: true }, () => resolve()),
      )
    const { code } = await ended
    assert.ok([1006, 1009].includes(code), `it ended with ${code}`)
  })

  test('a browser does not get a connection, nor does anybody at another path', async () => {
    await assert.rejects(openSocket(team.url, { origin: 'https://evil.example' }))
    const key = randomBytes(16).toString('base64')
    for (const path of [
      '/agents/connect/../../api/v1/environments',
      '/agents/connect?x=1',
      '/api/v1/environments',
      '//agents/connect',
    ]) {
      const { answer } = await sendBytes(
        team.url,
        `GET ${path} HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: ${key}\r\n\r\n`,
      )
      assert.match(await answer, /^HTTP\/1\.1 4\d\d /, path)
    }
  })

  test('five hundred who dribble a request keep nobody else out, and are shown out themselves', async () => {
    const slow = await Promise.all(
      Array.from({ length: 500 }, (_, index) =>
        sendBytes(
          team.url,
          index % 2 === 0
            ? 'GET /healthz HTTP/1.1\r\nHost: x\r\nX-'
            : 'POST /agents/join HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 500\r\n\r\n{',
        ),
      ),
    )
    try {
      const began = performance.now()
      assert.equal((await fetch(`${team.url}/healthz`)).status, 200)
      // A deployment meanwhile, with its files through the same door.
      writeFileSync(join(team.directory, 'payload/secret.txt'), `once more ${'x'.repeat(100_000)}`)
      const { code, stderr } = await team.dploy(
        '--config',
        'files.yml',
        'deploy',
        'other',
        '--directory',
        'payload',
        '--json',
      )
      assert.equal(code, 0, stderr)
      const peer = await welcomed(team.url, stolen)
      await peer.call('manifest', {
        release: own,
        artifact: JSON.parse(readFileSync(join(team.root('web3'), 'srv/files/.dploy/releases/1.json'), 'utf8'))
          .artifact as string,
      })
      peer.close('enough')
      assert.ok(performance.now() - began < 5_000)
      const answers = await Promise.race([
        Promise.all(slow.map(({ answer }) => answer)),
        delay(15_000, null, { ref: false }),
      ])
      assert.ok(answers, `${slow.filter(({ socket }) => !socket.destroyed).length} are still connected`)
      for (const answer of answers) assert.match(answer, /^HTTP\/1\.1 408 /)
      const lines = await told('a request that does not come was cut off', 20)
      assert.ok(lines.length < 100, `${lines.length} lines`)
    } finally {
      for (const { socket } of slow) socket.destroy()
    }
  })

  test('an upload may take as long as it wants, as long as it goes on; a pause ends it, and so does silence that of an agent', async () => {
    const { token } = await team.client.call('createToken', { body: { note: 'test', right: 'administer' } })
    const chunk = (bytes: Buffer) =>
      Buffer.concat([Buffer.from(`${bytes.length.toString(16)}\r\n`), bytes, Buffer.from('\r\n')])
    // The head of a frame that zstd(1) skips, a thousand bytes long (RFC 8878, 3.1.2).
    const skipped = Buffer.from([0x50, 0x2a, 0x4d, 0x18, 0xe8, 0x03, 0x00, 0x00])
    const begin = () =>
      sendBytes(
        team.url,
        Buffer.concat([
          Buffer.from(
            `PUT /api/v1/objects HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer ${token}\r\nContent-Type: application/zstd\r\nTransfer-Encoding: chunked\r\n\r\n`,
          ),
          chunk(skipped),
        ]),
      )
    const [steady, pausing] = await Promise.all([begin(), begin()])
    try {
      const began = performance.now()
      const silent = await openSocket(team.url)
      const shownOut = silent.ended.then(() => (performance.now() - began) / 1000)
      const ended = pausing.answer.then((answer) => ({ answer, seconds: (performance.now() - began) / 1000 }))
      const limit = AbortSignal.timeout(30_000)
      while (!pausing.socket.destroyed && !limit.aborted) {
        steady.socket.write(chunk(Buffer.from('x')))
        await delay(500)
      }
      const { answer, seconds } = await ended
      assert.match(answer, /^HTTP\/1\.1 408 /)
      assert.ok(seconds > 11 && seconds < 20, `it took ${seconds} s`)
      assert.equal(steady.socket.destroyed, false)
      // An agent has ten seconds for its hello.
      const silence = await shownOut
      assert.ok(silence > 8 && silence < 20, `it took ${silence} s`)
      await told('an agent was refused', 1)
    } finally {
      steady.socket.destroy()
      pausing.socket.destroy()
    }
  })

  test('somebody known who sends half a body is shown out too', async () => {
    const { token } = await team.client.call('createToken', { body: { note: 'test', right: 'administer' } })
    const { answer } = await sendBytes(
      team.url,
      `POST /api/v1/join-tokens HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer ${token}\r\nContent-Type: application/json\r\nContent-Length: 500\r\n\r\n{`,
    )
    assert.match(await answer, /^HTTP\/1\.1 408 /)
  })

  test('bytes that are no HTTP are answered as such, or not at all', async () => {
    for (const bytes of [
      randomBytes(300),
      'GET / HTTP/9.9\r\n\r\n',
      `GET /${'x'.repeat(100_000)} HTTP/1.1\r\n\r\n`,
      'POST /agents/join HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n',
    ]) {
      const { answer } = await sendBytes(team.url, bytes)
      assert.match(await answer, /^(HTTP\/1\.1 4\d\d |HTTP\/1\.1 505 |$)/)
    }
    await told('what is no HTTP request was refused', 3)
  })
})
