import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { after, before, describe, test } from 'node:test'
import { Plane } from './plane.ts'

const anna = { email: 'anna@example.org', name: 'Anna', password: 'correct horse battery' }

describe('signing in', { timeout: 120_000 }, () => {
  let plane: Plane
  let cookie: string

  before(async () => {
    plane = await Plane.up()
  })
  after(() => plane?.[Symbol.asyncDispose]())

  test('the first start prints a link that makes one administrator, and no more', async () => {
    assert.match(plane.said.setup!, /\/setup#[\w-]{32}$/)
    const token = plane.said.setup!.split('#')[1]!
    assert.equal((await plane.ask('GET', '/api/v1/session')).json.setUp, false)
    assert.equal(
      (await plane.ask('POST', '/api/v1/setup', { body: { ...anna, token: 'wrong' } })).json.code,
      'link.invalid',
    )
    assert.equal(
      (await plane.ask('POST', '/api/v1/setup', { body: { ...anna, password: 'short', token } })).status,
      400,
    )
    const both = await Promise.all(
      [anna, { ...anna, email: 'eve@example.org' }].map((person) =>
        plane.ask('POST', '/api/v1/setup', { body: { ...person, token } }),
      ),
    )
    assert.deepEqual(both.map(({ status }) => status).sort(), [200, 403])
    const won = both.find(({ status }) => status === 200)!
    // Whoever was first: from here on it is Anna.
    if (won.json.email !== anna.email) anna.email = won.json.email
    cookie = won.cookie!
    assert.deepEqual(won.json.rights, [{ right: 'administer', place: null }])
    assert.match(won.set!, /^dploy=[\w-]{43}; Path=\/; HttpOnly; SameSite=Strict$/)
  })

  test('a start after that prints no link, and the session goes on', async () => {
    await plane.stop()
    await plane.start()
    assert.equal(plane.said.setup, undefined)
    const session = await plane.ask('GET', '/api/v1/session', { cookie })
    assert.equal(session.json.kind, 'person')
    assert.equal(session.json.setUp, true)
  })

  test('behind a proxy that speaks https the cookie goes over https alone', async () => {
    const { status, set } = await plane.ask('POST', '/api/v1/session', {
      body: { email: anna.email, password: anna.password },
      headers: { 'x-forwarded-proto': 'https' },
    })
    assert.equal(status, 200)
    assert.match(set!, /^__Host-dploy=.*; Path=\/; HttpOnly; SameSite=Strict; Secure$/)
  })

  test('over the unix socket people sign in too', async () => {
    assert.equal(
      (await plane.client.call('signIn', { body: { email: anna.email, password: anna.password } })).kind,
      'person',
    )
    assert.equal((await plane.client.call('session')).kind, 'local')
  })

  test('a wrong password and an unknown address are answered alike, and in about the same time', async () => {
    const times: Record<string, number[]> = { known: [], unknown: [] }
    for (let round = 0; round < 2; round++) {
      for (const [kind, email] of [
        ['known', anna.email],
        ['unknown', 'nobody@example.org'],
      ] as const) {
        const began = performance.now()
        const answer = await plane.ask('POST', '/api/v1/session', { body: { email, password: 'a wrong password' } })
        times[kind]!.push(performance.now() - began)
        assert.deepEqual(
          [answer.status, answer.json.code, answer.json.detail],
          [401, 'sign_in.failed', 'Address or password is wrong'],
        )
        assert.equal(answer.set, undefined)
      }
    }
    const [known, unknown] = [Math.min(...times.known!), Math.min(...times.unknown!)]
    assert.ok(unknown > known / 3, `an unknown address took ${unknown} ms, a known one ${known} ms`)
  })

  test('who guesses on has to wait, also for the right password; others need not', async () => {
    const guess = (email: string, password: string) =>
      plane.ask('POST', '/api/v1/session', { body: { email, password } })
    // Many at once count as many.
    const answers = await Promise.all(
      Array.from({ length: 8 }, (_, index) => guess('bert@example.org', `guess number ${index}`)),
    )
    assert.equal(answers.filter(({ status }) => status === 401).length, 5)
    const refused = answers.filter(({ status }) => status === 429)
    assert.equal(refused.length, 3)
    assert.ok(Number(refused[0]!.headers.get('retry-after')) >= 1)
    assert.equal((await guess('BERT@example.org', anna.password)).status, 429)
    assert.equal((await guess(anna.email, anna.password)).status, 200)
    // From where she was signed in before she is kept out by nobody who guesses elsewhere (a proxy here says from where).
    for (let tries = 0; tries < 6; tries++)
      await plane.ask('POST', '/api/v1/session', {
        body: { email: anna.email, password: 'a wrong one' },
        headers: { 'x-forwarded-for': '203.0.113.9' },
      })
    const elsewhere = await plane.ask('POST', '/api/v1/session', {
      body: { email: anna.email, password: anna.password },
      headers: { 'x-forwarded-for': '203.0.113.10' },
    })
    assert.equal(elsewhere.status, 429)
    assert.equal((await guess(anna.email, anna.password)).status, 200)
  })

  test('an invitation lets choose a password once', async () => {
    const added = await plane.ask('POST', '/api/v1/people', {
      cookie,
      body: { email: 'Carl@Example.org', name: 'Carl', grants: [{ role: 'viewer', place: null }] },
    })
    assert.equal(added.status, 200, added.text)
    assert.equal(added.json.person.email, 'carl@example.org')
    assert.equal(
      (await plane.ask('POST', '/api/v1/people', { cookie, body: { email: 'carl@example.org', name: 'Carl' } })).json
        .code,
      'person.exists',
    )
    const accept = () =>
      plane.ask('POST', '/api/v1/invitation', { body: { token: added.json.token, password: 'another good one' } })
    const carl = await accept()
    assert.equal(carl.status, 200)
    assert.equal((await accept()).json.code, 'link.invalid')
    assert.equal((await plane.ask('GET', '/api/v1/people', { cookie: carl.cookie })).json.code, 'forbidden')
    // What a person may do is asked anew each time.
    await plane.ask('PUT', `/api/v1/people/${added.json.person.id}/grants`, {
      cookie,
      body: { grants: [{ role: 'administrator', place: null }] },
    })
    assert.equal((await plane.ask('GET', '/api/v1/people', { cookie: carl.cookie })).status, 200)
    assert.equal((await plane.ask('DELETE', `/api/v1/people/${added.json.person.id}`, { cookie })).status, 200)
    assert.equal((await plane.ask('GET', '/api/v1/people', { cookie: carl.cookie })).json.code, 'unauthorized')
  })

  test('the last administrator stays one', async () => {
    const { people } = (await plane.ask('GET', '/api/v1/people', { cookie })).json as { people: { id: string }[] }
    for (const [method, path, body] of [
      ['DELETE', '', undefined],
      ['PUT', '/grants', { grants: [] }],
    ] as const) {
      const answer = await plane.ask(method, `/api/v1/people/${people[0]!.id}${path}`, { cookie, body })
      assert.equal(answer.json.code, 'person.last_administrator')
    }
  })

  test('changing the password, and signing out everywhere, end the other sessions', async () => {
    const signIn = async (password: string) =>
      (await plane.ask('POST', '/api/v1/session', { body: { email: anna.email, password } })).cookie
    const other = await signIn(anna.password)
    const listed = await plane.ask('GET', '/api/v1/sessions', { cookie })
    assert.ok(listed.json.sessions.length >= 2)
    assert.equal(listed.json.sessions.filter((one: { current: boolean }) => one.current).length, 1)
    const changed = await plane.ask('PUT', '/api/v1/session/password', {
      cookie,
      body: { old: anna.password, password: 'a better one than that' },
    })
    assert.equal(changed.status, 200, changed.text)
    assert.equal((await plane.ask('GET', '/api/v1/people', { cookie: other })).status, 401)
    assert.equal(
      (await plane.ask('GET', '/api/v1/people', { cookie })).status,
      401,
      'the cookie itself is another one too',
    )
    assert.equal((await plane.ask('DELETE', '/api/v1/sessions', { cookie: changed.cookie })).json.ended, 1)
    assert.equal((await plane.ask('GET', '/api/v1/people', { cookie: changed.cookie })).status, 401)
    const again = await signIn('a better one than that')
    const out = await plane.ask('DELETE', '/api/v1/session', { cookie: again })
    assert.match(out.set!, /Max-Age=0/)
    assert.equal((await plane.ask('GET', '/api/v1/people', { cookie: again })).status, 401)
  })

  test('no password, link or cookie stands in clear in what is kept, or in the log', () => {
    const kept = ['dploy.db', 'dploy.db-wal', 'log']
      .map((file) => readFileSync(join(plane.directory, file)))
      .map((bytes) => bytes.toString('latin1'))
      .join('')
    assert.ok(kept.includes('$argon2id$v=19$m=19456,t=2,p=1$'))
    for (const secret of [anna.password, 'another good one', 'a better one than that', cookie.split('=')[1]!])
      assert.ok(!kept.includes(secret), secret)
  })
})
