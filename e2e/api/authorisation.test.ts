import assert from 'node:assert/strict'
import { after, before, describe, test } from 'node:test'
import { holds, subjectOf, type Right } from '../../src/protocol/api/access.ts'
import { routes, type RouteName } from '../../src/protocol/api/contract.ts'
import type { Route } from '../../src/protocol/api/route.ts'
import { blog, inhabit, shop, type Somebody } from './callers.ts'
import { Plane } from './plane.ts'

/** A session is over after these, so that each call gets one of its own. */
const endsSession: ReadonlySet<string> = new Set<RouteName>(['signOut', 'signOutEverywhere'])
/** Answers for what is not there, or may not be seen. */
const hidden: ReadonlySet<string> = new Set(['environment.unknown', 'not_found', 'server.unknown'])

type Verdict = 'let in' | 'unauthorized' | 'forbidden' | 'hidden'

describe('who may call what', { timeout: 280_000 }, () => {
  let plane: Plane
  let world: Awaited<ReturnType<typeof inhabit>>

  before(async () => {
    plane = await Plane.up()
    world = await inhabit(plane)
  })
  after(() => plane?.[Symbol.asyncDispose]())

  test('every route says what it asks of its caller', () => {
    for (const [name, route] of Object.entries(routes as Record<string, Route>)) {
      assert.ok(
        ['open', 'known', 'own', 'read', 'deploy', 'administer'].includes(route.access),
        `${name} declares no access`,
      )
      assert.ok(
        route.reach === undefined || subjectOf(route.path) === 'everything',
        `${name}: reach is for routes whose path names nothing`,
      )
      if (route.method !== 'GET' && route.access === 'read')
        assert.equal(route.audited, false, `${name} changes something: read is not enough`)
    }
    const open = Object.entries(routes as Record<string, Route>)
      .filter(([, route]) => route.access === 'open')
      .map(([name]) => name)
    // Whoever adds one here has thought about strangers.
    for (const name of open)
      assert.ok(
        /^\/(?:healthz|readyz|metrics|agents\/|hooks\/|api\/v1\/(?:session|setup|invitation|openapi|install|badge|webhooks\/:webhook\/deliveries)|badge|install|openapi|docs)/.test(
          (routes as Record<string, Route>)[name]!.path,
        ),
        `${name} is open to everybody`,
      )
  })

  test('every route lets in whom it says and no one else: on their own things, on those of others, and on what is not there', async () => {
    let tried = 0
    for (const [name, route] of Object.entries(routes as Record<string, Route>)) {
      for (const somebody of world.everybody) {
        const answers: Partial<Record<'shop' | 'blog' | 'nowhere', string>> = {}
        for (const place of ['shop', 'blog', 'nowhere'] as const) {
          if (place !== 'shop' && subjectOf(route.path) === 'everything') continue
          const [wanted, found] = [expected(route, somebody, place), await call(name, route, somebody, place)]
          tried++
          answers[place] = found.answer
          if (wanted === 'the handler says') continue
          assert.equal(
            found.verdict,
            wanted,
            `${name} (${route.method} ${route.path}, ${route.access}) by ${somebody.name} in ${place}: ${found.answer}`,
          )
        }
        if (expected(route, somebody, 'blog') === 'hidden')
          assert.equal(
            answers.blog,
            answers.nowhere,
            `${name} tells ${somebody.name} that something of others is there`,
          )
      }
    }
    assert.ok(tried > 500, `${tried} calls`)
  })

  test('the id of a token, a person or a webhook of others is worth no more than one that was made up', async () => {
    const told = async () =>
      JSON.stringify(
        await Promise.all([
          plane.client.call('people').then(({ people }) => people.map(({ seenAt: _, ...rest }) => rest)),
          plane.client.call('tokens').then(({ tokens }) => tokens.map(({ usedAt: _, ...rest }) => rest)),
          plane.client.call('webhooks'),
        ]),
      )
    const before = await told()
    const bodies: Record<string, unknown> = { setGrants: { grants: [] }, testWebhook: { branch: 'main' } }
    let tried = 0
    for (const [name, route] of Object.entries(routes as Record<string, Route>)) {
      const [param] = Object.keys(world.ids).filter(
        (key) => route.path.endsWith(`/:${key}`) || route.path.includes(`/:${key}/`),
      ) as (keyof typeof world.ids)[]
      // What services send is signed, and its address is no secret.
      if (param === undefined || route.access === 'open') continue
      const madeUp = `${world.ids[param].slice(0, 4)}0123456789abcdef`
      for (const somebody of world.everybody) {
        const everything = somebody.holds['*'] === 'administer'
        const ask = async (id: string) => {
          const answer = await plane.ask(
            route.method,
            route.path.replace(`:${param}`, id).replace(':delivery', 'dlv_0123456789abcdef'),
            { ...(await somebody.credentials(false)), ...(route.body ? { body: bodies[name] ?? {} } : {}) },
          )
          return `${answer.status} ${answer.json?.code ?? ''} ${String(answer.json?.detail ?? '').replaceAll(id, '…')}`
        }
        const invented = await ask(madeUp)
        const wanted = expected(route, somebody, 'shop')
        if (everything && wanted === 'let in') {
          assert.match(invented, /^404 /, `${name} by ${somebody.name}`)
          continue
        }
        const answered = await ask(world.ids[param])
        tried++
        assert.equal(answered, invented, `${name} by ${somebody.name}`)
        assert.match(
          answered,
          wanted === 'let in' ? /^404 \w+\.unknown / : new RegExp(`^40[13] ${wanted} `),
          `${name} by ${somebody.name}`,
        )
      }
    }
    assert.ok(tried > 80, `${tried} calls`)
    assert.equal(await told(), before)
  })

  test('lists hold what the caller may see', async () => {
    const of = async (name: string, path: string) => {
      const somebody = world.everybody.find((one) => one.name === name)!
      return (await plane.ask('GET', path, await somebody.credentials(false))).json
    }
    for (const name of ['viewer of shop', 'token of administrator: read shop']) {
      assert.deepEqual(
        (await of(name, '/api/v1/environments')).environments.map((one: { application: string }) => one.application),
        ['shop'],
        name,
      )
      assert.deepEqual(
        (await of(name, '/api/v1/servers')).servers.map((one: { name: string }) => one.name),
        ['shop1'],
        name,
      )
      assert.deepEqual(
        (await of(name, '/api/v1/deployments')).deployments.map((one: { application: string }) => one.application),
        ['shop'],
        name,
      )
      assert.equal(
        (await of(name, '/api/v1/deployments?application=blog&environment=production')).code,
        'environment.unknown',
      )
    }
    assert.deepEqual((await of('viewer', '/api/v1/environments')).environments.length, 2)
    const entries = (await of('administrator of shop', '/api/v1/audit?limit=500')).entries as {
      application: string | null
    }[]
    assert.ok(entries.length > 0 && entries.every(({ application }) => application === 'shop'))
    assert.ok(
      (await of('administrator', '/api/v1/audit?limit=500')).entries.some(
        (one: { application: string | null }) => one.application === 'blog',
      ),
    )
    const tokens = (await of('administrator of shop', '/api/v1/tokens')).tokens as { owner: { name: string } }[]
    assert.deepEqual([...new Set(tokens.map(({ owner }) => owner.name))], ['administrator of shop'])
  })

  test('a token can do no more than who makes it, and nothing once they are gone', async () => {
    const { cookie } = await world.everybody.find((one) => one.name === 'deployer of shop')!.credentials(false)
    const make = (right: Right, places: unknown) =>
      plane.ask('POST', '/api/v1/tokens', { cookie: cookie!, body: { note: 'mine', right, places } })
    assert.equal((await make('deploy', null)).json.code, 'forbidden')
    assert.equal((await make('administer', [shop])).json.code, 'forbidden')
    assert.equal((await make('read', [blog])).json.code, 'environment.unknown')
    const made = await make('deploy', [shop])
    const { token } = made.json as { token: string }
    const status = () => plane.ask('GET', '/api/v1/environments/shop/production', { token })
    assert.equal((await status()).status, 200)
    assert.equal(
      (await plane.ask('POST', '/api/v1/tokens', { token, body: { note: 'another', right: 'read' } })).json.code,
      'forbidden',
    )
    const { person } = (await plane.ask('GET', '/api/v1/session', { cookie: cookie! })).json as { person: string }
    await plane.client.call('setGrants', { params: { person }, body: { grants: [] } })
    assert.equal((await status()).json.code, 'environment.unknown')
    await plane.client.call('removePerson', { params: { person } })
    assert.equal((await status()).json.code, 'unauthorized')
  })

  test('a token for one environment ends no token of its owner that reaches further', async () => {
    const { cookie } = await world.everybody.find((one) => one.name === 'administrator')!.credentials(false)
    const make = async (right: Right, places: unknown) =>
      (await plane.ask('POST', '/api/v1/tokens', { cookie: cookie!, body: { note: 'ours', right, places } })).json as {
        token: string
        entry: { id: string }
      }
    const [narrow, wide, same, other] = [
      await make('administer', [shop]),
      await make('read', null),
      await make('deploy', [shop]),
      await make('read', [blog]),
    ]
    const end = async (id: string) =>
      (await plane.ask('DELETE', `/api/v1/tokens/${id}`, { token: narrow.token })).status
    assert.deepEqual(
      [await end(wide.entry.id), await end(other.entry.id), await end(same.entry.id), await end(narrow.entry.id)],
      [403, 403, 200, 200],
    )
    await plane.ask('DELETE', `/api/v1/tokens/${wide.entry.id}`, { cookie: cookie! })
    await plane.ask('DELETE', `/api/v1/tokens/${other.entry.id}`, { cookie: cookie! })
  })

  test('a dploy.yml is followed where its sender may deploy, and the rest stays as it is', async () => {
    const text = (command: string) =>
      JSON.stringify({
        application: 'shop',
        source: { repository: '/nowhere' },
        service: { command, port: 3000 },
        notify: [{ kind: 'webhook', url: 'http://127.0.0.1:1/', secret: 'HOOK' }],
        environments: {
          production: { branch: 'main', servers: [{ name: 'shop1' }] },
          staging: { servers: [{ name: 'shop2' }] },
        },
      })
    const token = world.everybody.find((one) => one.name === 'token of administrator: deploy shop')!
    const applied = await plane.ask('PUT', '/api/v1/applications', {
      ...(await token.credentials(false)),
      body: { text: text('node new.js') },
    })
    assert.equal(applied.status, 200, applied.text)
    assert.match(applied.json.warnings.join(), /staging stays as it is/)
    const { environments } = await plane.client.call('environments')
    assert.ok(!environments.some(({ environment }) => environment === 'staging'))
    const { entries } = await plane.client.call('audit', { query: { action: 'apply', limit: 1 } })
    assert.deepEqual(
      [entries[0]!.before, entries[0]!.after],
      [
        { production: { service: (entries[0]!.before as { production: { service: unknown } }).production.service } },
        { production: { service: (entries[0]!.after as { production: { service: unknown } }).production.service } },
      ],
    )
    assert.match(JSON.stringify(entries[0]!.after), /new\.js/)
    const stranger = world.everybody.find((one) => one.name === 'deployer of blog')!
    assert.equal(
      (
        await plane.ask('PUT', '/api/v1/applications', {
          ...(await stranger.credentials(false)),
          body: { text: text('node evil.js') },
        })
      ).json.code,
      'forbidden',
    )
  })

  function expected(
    route: Route,
    somebody: Somebody,
    place: 'shop' | 'blog' | 'nowhere',
  ): Verdict | 'the handler says' {
    if (somebody.unknown === 'expired') return 'unauthorized'
    if (route.access === 'open') return 'let in'
    if (somebody.unknown !== undefined) return 'unauthorized'
    if (route.access === 'known') return 'let in'
    if (route.access === 'own')
      return somebody.name.startsWith('token') && !Object.values(somebody.holds).includes('administer')
        ? 'forbidden'
        : 'let in'
    const right = route.access
    const has = (at: string, wanted: Right) =>
      [somebody.holds['*'], somebody.holds[at]].some((held) => held !== undefined && holds(held, wanted))
    if (subjectOf(route.path) === 'everything') {
      const places = route.reach === 'some' ? ['*', 'shop', 'blog'] : ['*']
      return places.some((at) => has(at, right)) ? 'let in' : 'forbidden'
    }
    if (place === 'nowhere') return has('*', right) ? 'the handler says' : 'hidden'
    if (has(place, right)) return 'let in'
    return has(place, 'read') ? 'forbidden' : 'hidden'
  }

  /** Asks with a body that no route takes: who is let in is told that it is not valid, and nothing happens. */
  async function call(
    name: string,
    route: Route,
    somebody: Somebody,
    place: 'shop' | 'blog' | 'nowhere',
  ): Promise<{ verdict: Verdict; answer: string }> {
    const values: Record<string, string> = {
      application: place,
      environment: 'production',
      number: String(world.numbers[place] ?? 999_999),
      run: world.runs[place] ?? 'run_nothere',
      key: world.keys[place] ?? 'abcdef',
      name: 'KEY',
      server: route.path.includes('/environments/') ? 'any' : `${place}1`,
    }
    const path = route.path.replace(/:(\w+)/g, (_, key: string) => values[key] ?? 'nothing-here')
    const answer = await plane.ask(route.method, path, {
      ...(await somebody.credentials(endsSession.has(name))),
      ...(route.body ? { body: { nothing: 'of this kind' } } : {}),
    })
    const code = (answer.json as { code?: string } | null)?.code ?? ''
    assert.ok(answer.status !== 500, `${name}: ${answer.text}`)
    const shown = `${answer.status} ${code} ${answer.json?.detail ?? ''}`
      .replaceAll(new RegExp(`\\b(?:${[place, ...Object.values(values)].join('|')})\\b`, 'g'), '…')
      .replaceAll(/…1?\b/g, '…')
    if (code === 'unauthorized' || code === 'forbidden') return { verdict: code, answer: shown }
    return {
      verdict:
        hidden.has(code) &&
        /^There is no (?:environment|deployment|run|server) /.test(answer.json.detail) &&
        subjectOf(route.path) !== 'everything'
          ? 'hidden'
          : 'let in',
      answer: shown,
    }
  }
})
