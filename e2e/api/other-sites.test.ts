import assert from 'node:assert/strict'
import { once } from 'node:events'
import { connect } from 'node:net'
import { text } from 'node:stream/consumers'
import { after, before, describe, test } from 'node:test'
import { routes } from '../../src/protocol/api/contract.ts'
import type { Route } from '../../src/protocol/api/route.ts'
import { Plane } from './plane.ts'

const anna = { email: 'anna@example.org', name: 'Anna', password: 'correct horse battery' }
const filled = (path: string) => path.replace(/:\w+/g, 'any')

describe('what pages of other sites can do in the browser of an administrator', { timeout: 120_000 }, () => {
  let plane: Plane
  let cookie: string

  before(async () => {
    plane = await Plane.up()
    cookie = (await plane.ask('POST', '/api/v1/setup', { body: { ...anna, token: plane.said.setup!.split('#')[1]! } }))
      .cookie!
  })
  after(() => plane?.[Symbol.asyncDispose]())

  test('nothing is changed by a request that comes from another site, or does not say from where', async () => {
    for (const [name, route] of Object.entries(routes as Record<string, Route>)) {
      if (route.method === 'GET') continue
      const lies: Record<string, string>[] = [
        { origin: 'https://evil.example' },
        { origin: 'null' },
        { origin: plane.url, 'sec-fetch-site': 'cross-site' },
        { origin: plane.url, 'sec-fetch-site': 'same-site' },
        { origin: plane.url, 'sec-fetch-site': 'none' },
      ]
      for (const headers of lies) {
        const answer = await plane.ask(route.method, filled(route.path), {
          cookie,
          headers,
          ...(route.body ? { body: {} } : {}),
        })
        assert.equal(answer.json?.code, 'request.cross_site', `${name} with ${JSON.stringify(headers)}: ${answer.text}`)
      }
    }
    const answer = await raw(
      `POST /api/v1/people HTTP/1.1\r\nHost: ${new URL(plane.url).host}\r\nCookie: ${cookie}\r\nContent-Type: application/json\r\nContent-Length: 2\r\nConnection: close\r\n\r\n{}`,
    )
    assert.match(answer, /^HTTP\/1\.1 403 [\s\S]*request\.cross_site/)
  })

  test('a form of another site has no type that is taken, and a page of dploy has', async () => {
    const body = JSON.stringify({ email: 'eve@example.org', name: 'Eve' })
    for (const type of ['text/plain', 'application/x-www-form-urlencoded', 'multipart/form-data; boundary=x']) {
      const response = await fetch(`${plane.url}/api/v1/people`, {
        method: 'POST',
        headers: { cookie, origin: plane.url, 'content-type': type },
        body,
      })
      assert.equal(response.status, 400, type)
    }
    const response = await fetch(`${plane.url}/api/v1/people`, {
      method: 'POST',
      headers: { cookie, origin: plane.url, 'sec-fetch-site': 'same-origin', 'content-type': 'application/json' },
      body,
    })
    assert.equal(response.status, 200, await response.text())
  })

  test('a sign-in by another site is refused too', async () => {
    const answer = await plane.ask('POST', '/api/v1/session', {
      body: { email: anna.email, password: anna.password },
      headers: { origin: 'https://evil.example' },
    })
    assert.equal(answer.json.code, 'request.cross_site')
    assert.equal(answer.set, undefined)
  })

  test('every answer forbids frames, scripts and guesses at its type', async () => {
    for (const [path, options] of [
      ['/api/v1/session', {}],
      ['/api/v1/people', { cookie }],
      ['/api/v1/people', {}],
      ['/nothing', {}],
      ['/healthz', {}],
      ['/api/v1/audit/export', { cookie }],
      ['/', { headers: { accept: 'text/html' } }],
    ] as const) {
      const { headers, status } = await plane.ask('GET', path, options)
      const policy = headers.get('content-security-policy') ?? ''
      assert.match(policy, /frame-ancestors 'none'/, `${path} ${status}`)
      assert.match(policy, /default-src 'none'/, path)
      assert.ok(!policy.includes('unsafe'), path)
      assert.equal(headers.get('x-content-type-options'), 'nosniff', path)
      assert.ok(['same-origin', 'no-referrer'].includes(headers.get('referrer-policy')!), path)
      assert.equal(headers.get('access-control-allow-origin'), null, path)
    }
  })

  test('no browser opens the WebSocket of agents', async () => {
    const upgrade = (origin: string) =>
      raw(
        `GET /agents/connect HTTP/1.1\r\nHost: ${new URL(plane.url).host}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nCookie: ${cookie}\r\n${origin}\r\n`,
      )
    assert.match(await upgrade('Origin: https://evil.example\r\n'), /^HTTP\/1\.1 404 /)
    assert.match(await upgrade(`Origin: ${plane.url}\r\n`), /^HTTP\/1\.1 404 /)
    assert.match(await upgrade(''), /^HTTP\/1\.1 101 /)
  })

  /** Sends these bytes and answers what comes back, at most for a second where the connection stays open. */
  async function raw(bytes: string): Promise<string> {
    const { hostname, port } = new URL(plane.url)
    const socket = connect(Number(port), hostname)
    await once(socket, 'connect')
    socket.write(bytes)
    socket.setTimeout(1_000, () => socket.end())
    return text(socket)
  }
})
