import assert from 'node:assert/strict'
import { once } from 'node:events'
import { existsSync, readFileSync } from 'node:fs'
import { connect } from 'node:net'
import { join } from 'node:path'
import { after, before, describe, test } from 'node:test'
import { problemSchema } from '../../src/protocol/api/contract.ts'
import type { OpenApiDocument } from '../../src/protocol/api/openapi.ts'
import { errorTable } from '../../src/protocol/errors.ts'
import { endSending, hostileTo, send, type HostileAnswer, type HostileRequest } from './hostile-input.ts'
import { Plane } from './plane.ts'

const leaks =
  /\n\s+at |node_modules|node:internal|\/src\/|\.ts:\d|SQLITE|sqlite|ZodError|FST_ERR|Maximum call stack|Cannot read propert/

describe('bad input', { timeout: 280_000 }, () => {
  let plane: Plane
  let token: string
  let document: OpenApiDocument
  const known: Record<string, string> = {
    application: 'shop',
    environment: 'production',
    number: '1',
    server: 'web1',
    name: 'KEY',
  }

  before(async () => {
    plane = await Plane.up()
    const text = JSON.stringify({
      application: 'shop',
      source: { repository: '/nowhere' },
      service: { command: 'node server.js', port: 3000 },
      environments: { production: { branch: 'main', servers: ['web1', 'web2'] } },
    })
    await plane.client.call('apply', { body: { text } })
    const params = { application: 'shop', environment: 'production' }
    const { number } = await plane.client.call('deploy', { params, body: {} })
    for await (const _ of plane.client.stream('deploymentEvents', { params: { number } })) continue
    for await (const event of plane.client.stream('exec', { params, body: { command: { line: 'true' } } }))
      if (event.kind === 'started') known.run = event.run
    token = (await plane.client.call('createToken', { body: { note: 'everything', right: 'administer' } })).token
    const webhook = await plane.client.call('addWebhook', { body: { service: 'github' } })
    const { person } = await plane.client.call('addPerson', { body: { email: 'anna@example.org', name: 'Anna' } })
    Object.assign(known, { webhook: webhook.webhook.id, person: person.id, token: 'tok_none' })
    document = (await plane.ask('GET', '/api/v1/openapi.json')).json as OpenApiDocument
  })
  after(async () => {
    endSending()
    await plane?.[Symbol.asyncDispose]()
  })

  test('no route answers any of it with an error of its own, or shows its insides', async (t) => {
    const before = await state(plane)
    const requests: HostileRequest[] = []
    for (const [path, methods] of Object.entries(document.paths)) {
      for (const [method, operation] of Object.entries(methods))
        requests.push(...hostileTo(path, method, operation, document, known))
    }
    const operations = Object.values(document.paths).reduce((sum, methods) => sum + Object.keys(methods).length, 0)
    const seen = new Map<number, number>()
    const wrong: string[] = []
    const queue = requests.values()
    await Promise.all(
      Array.from({ length: 8 }, async () => {
        for (const request of queue) {
          const answer = await send(plane.url, {
            ...request,
            headers: { authorization: `Bearer ${token}`, ...request.headers },
          }).catch((error: unknown) => ({ status: 0, type: '', text: String(error) }))
          seen.set(answer.status, (seen.get(answer.status) ?? 0) + 1)
          const found = faultOf(answer)
          if (found !== null) wrong.push(`${request.name}: ${found}`)
        }
      }),
    )
    t.diagnostic(
      `${requests.length} requests to ${operations} operations: ${[...seen]
        .sort(([a], [b]) => a - b)
        .map(([status, count]) => `${count} of ${status}`)
        .join(', ')}`,
    )
    assert.deepEqual(wrong.slice(0, 40), [], `${wrong.length} of ${requests.length}`)
    assert.ok(requests.length > (50 * operations) / 2)

    // Nothing else was disturbed: the same process answers, and says the same.
    assert.equal((await plane.ask('GET', '/readyz')).status, 200)
    const { servers, ...rest } = await state(plane)
    assert.deepEqual(
      { ...rest, servers: servers.filter(({ name }) => before.servers.some((one) => one.name === name)) },
      before,
    )
    assert.ok(!existsSync('/tmp/dploy-was-here'), 'a command was run')
    assert.doesNotMatch(readFileSync(join(plane.directory, 'log'), 'utf8'), /unexpected error/)
  })

  test('what is known to nobody is a problem too: paths, methods, and what is no HTTP', async () => {
    const get = (path: string, method = 'GET') => send(plane.url, { name: path, method, path, headers: {} })
    const code = async (answer: Promise<HostileAnswer>) => {
      const found = await answer
      assert.equal(faultOf(found), null, found.text)
      return (JSON.parse(found.text) as { code: string; status: number }).code
    }
    assert.equal(await code(get('/api/v1/nothing')), 'not_found')
    assert.equal(await code(get('/api/v1/../../etc/passwd')), 'not_found')
    assert.equal(await code(get('/assets/..%2f..%2fpackage.json')), 'not_found')
    assert.equal(await code(get('/%')), 'request.invalid')
    for (const method of ['PATCH', 'PUT', 'PROPFIND', 'OPTIONS'])
      assert.match(await code(get('/api/v1/environments', method)), /^request\.method$|^not_found$/, method)
    assert.equal(await code(get(`/api/v1/environments?a=${'x'.repeat(40_000)}`)), 'request.header_too_large')
    for (const text of [
      'nonsense\r\n\r\n',
      'GET / HTTP/9.9\r\n\r\n',
      'GET /\0 HTTP/1.1\r\nhost: a\r\n\r\n',
      'POST /api/v1/session HTTP/1.1\r\nhost: a\r\ncontent-length: 1\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n',
    ]) {
      const answered = await raw(text)
      assert.match(answered, /^HTTP\/1\.1 4\d\d /, text)
      assert.match(answered, /application\/problem\+json/, text)
      assert.doesNotMatch(answered, leaks)
    }
  })

  async function raw(text: string): Promise<string> {
    const socket = connect(Number(new URL(plane.url).port), '127.0.0.1')
    await once(socket, 'connect')
    let answer = ''
    socket.setEncoding('utf8').on('data', (chunk: string) => (answer += chunk))
    socket.write(text)
    await Promise.race([once(socket, 'close'), once(socket, 'end')])
    socket.destroy()
    return answer
  }
})

/** What is wrong with an answer; null: nothing. */
function faultOf({ status, type, text }: HostileAnswer): string | null {
  if (leaks.test(text) && !type.startsWith('text/html') && status >= 400)
    return `shows its insides: ${text.slice(0, 400)}`
  if (status === 0) return text
  if (status >= 500) return `${status}: ${text.slice(0, 400)}`
  if (type === 'text/event-stream') {
    const problem = /^event: problem\ndata: (.*)$/m.exec(text)?.[1]
    if (problem === undefined) return null
    const { code, detail } = JSON.parse(problem) as { code: string; detail: string }
    return code === 'internal' || leaks.test(detail) ? `a stream ends in ${problem}` : null
  }
  if (status < 400) return null
  if (type !== 'application/problem+json') return `${status} is ${type}: ${text.slice(0, 200)}`
  if (text === '') return null
  const problem = problemSchema.safeParse(JSON.parse(text))
  if (!problem.success) return `no problem: ${text.slice(0, 200)}`
  if (!(problem.data.code in errorTable) || problem.data.code === 'internal' || problem.data.status !== status)
    return `${status}: ${text.slice(0, 200)}`
  return null
}

/** What there is, as far as hostile requests have no business with it: they may add servers. */
async function state(plane: Plane) {
  const [{ environments }, { servers }, { releases }] = await Promise.all([
    plane.client.call('environments'),
    plane.client.call('servers'),
    plane.client.call('releases', { params: { application: 'shop', environment: 'production' } }),
  ])
  return {
    environments: environments.map(({ application, environment, servers }) => ({ application, environment, servers })),
    servers: servers.map(({ name, joined }) => ({ name, joined })),
    releases,
  }
}
