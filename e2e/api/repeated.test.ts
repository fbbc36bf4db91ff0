import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import { once } from 'node:events'
import { mkdirSync, writeFileSync } from 'node:fs'
import { createServer, type IncomingMessage } from 'node:http'
import { join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import { after, before, describe, test } from 'node:test'
import { setTimeout as delay } from 'node:timers/promises'
import { Client } from '../../src/client/client.ts'
import { routes } from '../../src/protocol/api/contract.ts'
import type { Route } from '../../src/protocol/api/route.ts'
import { freePorts } from '../world.ts'
import { Plane } from './plane.ts'

const params = { application: 'shop', environment: 'production' }
const deployPath = '/api/v1/environments/shop/production/deployments'
const uuid = /^[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/

describe('what is sent twice with an Idempotency-Key is done once', { timeout: 120_000 }, () => {
  let plane: Plane
  let token: string

  before(async () => {
    plane = await Plane.up()
    const repository = join(plane.directory, 'repository')
    mkdirSync(repository)
    writeFileSync(join(repository, 'server.js'), '')
    const git = (...args: string[]) =>
      execFileSync('git', ['-C', repository, '-c', 'user.name=Anna', '-c', 'user.email=anna@localhost', ...args], {
        env: { ...process.env, GIT_CONFIG_GLOBAL: '/dev/null' },
      })
    git('init', '--quiet', '--initial-branch=main')
    git('add', '--all')
    git('commit', '--quiet', '--message', 'one')
    const text = JSON.stringify({
      application: 'shop',
      source: { repository },
      service: { command: 'node server.js', port: 3000 },
      environments: { production: { branch: 'main', servers: ['web1'] } },
    })
    await plane.client.call('apply', { body: { text } })
    token = (await plane.client.call('createToken', { body: { note: 'ci', right: 'administer' } })).token
  })
  after(() => plane?.[Symbol.asyncDispose]())

  const post = (path: string, key: string, body: unknown = {}, as = token) =>
    plane.ask('POST', path, { token: as, body, headers: { 'idempotency-key': key } })
  const deployments = async () => (await plane.client.call('deployments', { query: { limit: 200 } })).deployments
  const of = async (by: string) =>
    (await deployments()).filter(({ requestedBy }) => requestedBy.includes(by)).map(({ number }) => number)
  const replayed = (answer: { headers: Headers }) => answer.headers.get('idempotency-replayed') === 'true'

  test('at the same moment: both get the answer of the one', async () => {
    const body = { requestedBy: 'twice at once', wait: true }
    const both = await Promise.all(Array.from({ length: 6 }, () => post(deployPath, 'the-same', body)))
    assert.deepEqual(
      both.map(({ status }) => status),
      Array.from(both, () => 200),
    )
    assert.equal(new Set(both.map(({ text }) => text)).size, 1)
    assert.equal(both.filter(replayed).length, 5)
    assert.equal((await of('twice at once')).length, 1)
  })

  test('later: it is answered as the first time, also what is shown only once, and says so', async () => {
    const [first, second] = [
      await post('/api/v1/tokens', 'a-token', { note: 'mine', right: 'read' }),
      await post('/api/v1/tokens', 'a-token', { note: 'mine', right: 'read' }),
    ]
    assert.equal(second.text, first.text)
    assert.deepEqual([replayed(first), replayed(second)], [false, true])
    assert.equal((await plane.client.call('tokens')).tokens.filter(({ note }) => note === 'mine').length, 1)
  })

  test('with something else under it, it is refused; under another key, or of somebody else, it is another request', async () => {
    await post('/api/v1/webhooks', 'hook', { service: 'github' })
    const other = await post('/api/v1/webhooks', 'hook', { service: 'gitlab' })
    assert.deepEqual([other.status, other.json.code], [422, 'idempotency.other_request'])
    const elsewhere = await post('/api/v1/join-tokens', 'hook', {})
    assert.equal(elsewhere.json.code, 'idempotency.other_request')
    const { token: another } = await plane.client.call('createToken', {
      body: { note: 'another', right: 'administer' },
    })
    assert.equal((await post('/api/v1/webhooks', 'hook', { service: 'gitlab' }, another)).status, 200)
    assert.equal((await post('/api/v1/webhooks', 'hook-2', { service: 'github' })).status, 200)
    assert.equal((await plane.client.call('webhooks')).webhooks.length, 3)
  })

  test('what failed may be tried again with it; what is no key is told', async () => {
    assert.equal(
      (await post('/api/v1/webhooks', 'again', { service: 'github', application: 'later' })).json.code,
      'environment.unknown',
    )
    assert.equal((await post('/api/v1/webhooks', 'again', { service: 'github', application: 'shop' })).status, 200)
    for (const key of ['with a space', 'x'.repeat(201)])
      assert.deepEqual([(await post('/api/v1/webhooks', key, { service: 'github' })).json.where], ['idempotency-key'])
  })

  test('every call that takes a key is in the description of the API with it', async () => {
    const document = (await plane.ask('GET', '/api/v1/openapi.json')).json as {
      paths: Record<string, Record<string, { operationId: string; parameters?: { name: string; in: string }[] }>>
    }
    const described = Object.values(document.paths)
      .flatMap((methods) => Object.values(methods))
      .filter(({ parameters }) => parameters?.some((one) => one.in === 'header' && one.name === 'Idempotency-Key'))
      .map(({ operationId }) => operationId)
    const meant = Object.entries(routes as Record<string, Route>)
      .filter(([, { idempotent }]) => idempotent)
      .map(([name]) => name)
    assert.deepEqual(described.sort(), meant.sort())
  })

  test('the client sends what starts work with a UUID, and again with the same one when no answer came', async () => {
    await using proxy = await LosingProxy.before(plane.url)
    const client = new Client({ url: proxy.url, token, fetch })
    for (const [lose, requestedBy] of [
      ['the answer', 'lost answer'],
      ['the connection', 'lost connection'],
      ['half the answer', 'half an answer'],
    ] as const) {
      proxy.lose = lose
      const made = await client.call('deploy', { params, body: { requestedBy, wait: true } })
      assert.deepEqual(await of(requestedBy), [made.number], lose)
      const keys = proxy.keys.splice(0)
      assert.equal(keys.length, 2, lose)
      assert.match(keys[0]!, uuid)
      assert.equal(keys[1], keys[0], lose)
    }
    await client.call('environments')
    await client.call('cancel', { params: { number: (await deployments())[0]!.number } }).catch(() => {})
    assert.deepEqual(
      proxy.keys.splice(0),
      [undefined, undefined],
      'what changes nothing, or the same again, goes without',
    )
  })

  test('the client does not insist where nothing listens', async () => {
    const [port] = await freePorts(1)
    const began = Date.now()
    await assert.rejects(
      new Client({ url: `http://127.0.0.1:${port}`, token, fetch }).call('deploy', { params, body: {} }),
      { code: 'connection.closed' },
    )
    assert.ok(Date.now() - began < 2_000)
  })

  test('killed in between: sent again after the restart, it is done once, or one is told to look', async (t) => {
    const outcomes = []
    for (let round = 0; round < 3; round++) {
      const [name, key] = [`killed ${round}`, `kill-${round}`]
      const ask = () => [
        post(deployPath, `${key}-deploy`, { requestedBy: name, wait: true }),
        post('/api/v1/webhooks', `${key}-hook`, { service: 'github', note: name }),
      ]
      const lost = Promise.allSettled(ask())
      await untilKept(`${key}-deploy`)
      await delay(round * 2)
      await plane.kill()
      await lost
      await plane.start()
      const [deployed, hooked] = await Promise.all(ask())
      assert.equal(deployed!.status, 200, deployed!.text)
      assert.deepEqual(await of(name), [deployed!.json.number])
      const hooks = (await plane.client.call('webhooks')).webhooks.filter(({ note }) => note === name).length
      // Of a webhook nobody can say whether it was made: it is not made a second time.
      assert.ok(
        hooked!.status === 200 ? hooks === 1 : hooked!.json.code === 'idempotency.cut_off' && hooks <= 1,
        hooked!.text,
      )
      outcomes.push(
        `deployment ${replayed(deployed!) ? 'found again' : 'begun anew'}, webhook ${hooked!.status === 200 ? (replayed(hooked!) ? 'found again' : 'made anew') : 'cut off'}`,
      )
    }
    t.diagnostic(outcomes.join('; '))
  })

  /** Waits until the control plane has stored a key: it has begun, and may not have ended. */
  async function untilKept(key: string): Promise<void> {
    using database = new DatabaseSync(join(plane.directory, 'dploy.db'), { readOnly: true, timeout: 5_000 })
    const found = database.prepare('SELECT 1 FROM answers WHERE key = ?')
    for (const deadline = Date.now() + 10_000; found.get(key) === undefined; await delay(0))
      assert.ok(Date.now() < deadline, `${key} is not stored`)
  }
})

/** Passes requests on, and once loses what comes back, after it was done. */
class LosingProxy implements AsyncDisposable {
  readonly url: string
  /** The Idempotency-Keys that came. */
  readonly keys: (string | undefined)[] = []
  lose: 'nothing' | 'the answer' | 'half the answer' | 'the connection' = 'nothing'
  readonly #server

  private constructor(server: ReturnType<typeof createServer>) {
    this.#server = server
    this.url = `http://127.0.0.1:${(server.address() as { port: number }).port}`
  }

  static async before(url: string): Promise<LosingProxy> {
    const server = createServer((request, response) => {
      void read(request)
        .then(async (body) => {
          proxy.keys.push(request.headers['idempotency-key'] as string | undefined)
          const { lose } = proxy
          proxy.lose = 'nothing'
          const headers = Object.fromEntries(
            ['authorization', 'content-type', 'idempotency-key'].flatMap((name) =>
              request.headers[name] === undefined ? [] : [[name, request.headers[name] as string]],
            ),
          )
          const asked = fetch(new URL(request.url!, url), {
            method: request.method!,
            headers,
            ...(body === '' ? {} : { body }),
          })
          if (lose === 'the connection') request.socket.resetAndDestroy()
          const answer = await asked
          const text = await answer.text()
          if (lose === 'the answer') request.socket.resetAndDestroy()
          response.writeHead(answer.status, {
            'content-type': answer.headers.get('content-type') ?? '',
            'content-length': Buffer.byteLength(text),
          })
          if (lose === 'half the answer')
            response.write(text.slice(0, text.length / 2), () => request.socket.resetAndDestroy())
          else response.end(text)
        })
        .catch(() => request.socket.destroy())
    })
    await once(server.listen(0, '127.0.0.1'), 'listening')
    const proxy = new LosingProxy(server)
    return proxy
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#server.closeAllConnections()
    await new Promise((resolve) => this.#server.close(resolve))
  }
}

async function read(request: IncomingMessage): Promise<string> {
  let body = ''
  for await (const chunk of request.setEncoding('utf8')) body += String(chunk)
  return body
}
