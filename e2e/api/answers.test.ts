import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import { mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import { after, before, describe, test } from 'node:test'
import * as z from 'zod'
import { problemSchema, routes } from '../../src/protocol/api/contract.ts'
import type { Route } from '../../src/protocol/api/route.ts'
import { Plane } from './plane.ts'

const params = { application: 'shop', environment: 'production' }
const names = Array.from({ length: 5 }, (_, index) => `web${index + 1}`)
const table = Object.entries(routes as Record<string, Route>)

describe('what the API answers', { timeout: 120_000 }, () => {
  let plane: Plane
  let token: string
  let repository: string
  let deployed = 0

  before(async () => {
    plane = await Plane.up()
    repository = join(plane.directory, 'repository')
    mkdirSync(repository)
    git('init', '--quiet', '--initial-branch=main')
    await apply(names)
    token = (await plane.client.call('createToken', { body: { note: 'reader', right: 'administer' } })).token
    for (let round = 0; round < 5; round++) await grow()
  })
  after(() => plane?.[Symbol.asyncDispose]())

  const get = (path: string, headers: Record<string, string> = {}) => plane.ask('GET', path, { token, headers })
  const pathOf = (route: Route) =>
    route.path.replaceAll(
      /:(\w+)/g,
      (_, name: string) => ({ ...params, number: '2', file: 'production.svg' })[name] ?? name,
    )

  test('lists are read to their end by their cursors, and what is added meanwhile moves nothing', async () => {
    const lists = table.filter(([, { query }]) => query instanceof z.ZodObject && 'cursor' in query.shape)
    for (const name of ['audit', 'deploymentLog', 'deployments', 'releases', 'runs', 'serverHistory', 'servers'])
      assert.ok(
        lists.some(([one]) => one === name),
        `${name} has no cursor`,
      )
    const begun = []
    for (const [name, route] of lists) {
      // Needs servers that were deployed to: server-history.test.ts has it.
      if (name === 'serverHistory') continue
      const path = pathOf(route)
      const rows = (answer: Record<string, unknown>) =>
        Object.values(answer).find((value) => Array.isArray(value)) as Record<string, unknown>[]
      const all = await get(`${path}?limit=200`)
      assert.equal(all.json.next, null, name)
      assert.ok(rows(all.json).length > 4, `${name} has ${rows(all.json).length}`)
      const first = await get(`${path}?limit=2`)
      assert.equal(rows(first.json).length, 2, name)
      assert.notEqual(first.json.next, null, name)
      begun.push({ name, path, rows, all: rows(all.json), read: rows(first.json), next: first.json.next as unknown })
    }
    await grow()
    await apply(['web0', ...names])
    for (const list of begun) {
      for (let { next } = list; next !== null;) {
        const page = await get(`${list.path}?limit=2&cursor=${encodeURIComponent(String(next))}`)
        assert.equal(page.status, 200, `${list.name}: ${page.text}`)
        list.read.push(...list.rows(page.json))
        next = page.json.next
        assert.ok(list.read.length <= list.all.length, `${list.name} does not end`)
      }
      const told = (row: Record<string, unknown>) => row.seq ?? row.id ?? row.number ?? row.name
      assert.deepEqual(list.read.map(told), list.all.map(told), list.name)
      assert.equal((await get(`${list.path}?limit=0`)).status, 400, list.name)
      // Names are sorted by, so that any text is a place among them.
      if (list.name !== 'servers')
        assert.equal((await get(`${list.path}?cursor=nonsense`)).json.code, 'request.invalid', list.name)
    }
  })

  test('what is polled carries an ETag, and is answered by 304 until it changes', async () => {
    const polled = table.filter(([, { etag }]) => etag)
    assert.ok(polled.length >= 8)
    const tags: Record<string, string> = {}
    for (const [name, route] of polled) {
      const path = pathOf(route)
      const answer = await get(path)
      const tag = answer.headers.get('etag')!
      assert.equal(answer.status, 200, `${name}: ${answer.text}`)
      assert.match(tag, /^"[\w-]{22}"$/, name)
      for (const known of [tag, `W/${tag}`, `"other", ${tag}`, '*']) {
        const again = await get(path, { 'if-none-match': known })
        assert.deepEqual([again.status, again.text, again.headers.get('etag')], [304, '', tag], `${name}, ${known}`)
      }
      assert.equal((await get(path, { 'if-none-match': '"other"' })).status, 200, name)
      assert.equal(
        (await plane.ask('GET', path, { headers: { 'if-none-match': tag } })).status,
        route.access === 'open' ? 304 : 401,
        `${name} is answered to nobody`,
      )
      tags[name] = tag
    }
    await grow()
    for (const name of ['environments', 'deployments', 'releases'] as const) {
      const answer = await get(pathOf(routes[name]), { 'if-none-match': tags[name]! })
      assert.equal(answer.status, 200, name)
      assert.notEqual(answer.headers.get('etag'), tags[name])
    }
  })

  test('/metrics are what Prometheus reads, and say what the records say', async () => {
    assert.equal((await plane.ask('GET', '/metrics')).json.code, 'unauthorized')
    const { token: here } = await plane.client.call('createToken', {
      body: { note: 'shop alone', right: 'read', places: [params] },
    })
    assert.equal((await plane.ask('GET', '/metrics', { token: here })).json.code, 'forbidden')
    const { token: reader } = await plane.client.call('createToken', { body: { note: 'prometheus', right: 'read' } })
    const answer = await plane.ask('GET', '/metrics', { token: reader })
    assert.deepEqual(
      [answer.status, answer.headers.get('content-type')],
      [200, 'text/plain; version=0.0.4; charset=utf-8'],
    )
    const families = familiesOf(answer.text)
    const { deployments } = await plane.client.call('deployments', { query: { limit: 200 } })
    const ended = families.get('dploy_deployments_ended_total')!
    assert.deepEqual(
      [...ended.samples],
      [[`application="shop",environment="production",kind="deploy",state="cancelled"`, deployments.length]],
    )
    assert.equal(families.get('dploy_servers')!.samples.get(''), 6)
    assert.equal(families.get('dploy_agents_connected')!.samples.get(''), 0)
    assert.equal(families.get('dploy_deployment_duration_seconds')!.type, 'histogram')
    assert.ok(families.get('dploy_event_stored_seconds')!.samples.size > 0)
    const asked = families.get('dploy_http_request_duration_seconds')!
    assert.ok(
      [...asked.samples.keys()].some((labels) =>
        labels.includes('route="/api/v1/environments/:application/:environment/deployments"'),
      ),
      'routes are told by their pattern',
    )
    assert.ok(families.get('process_resident_memory_bytes')!.samples.get('')! > 20_000_000)
  })

  test('--metrics-open shows them to everybody, and nothing else', async () => {
    await using open = await Plane.up('--metrics-open')
    assert.equal((await open.ask('GET', '/metrics')).status, 200)
    assert.equal((await open.ask('GET', '/api/v1/environments')).status, 401)
  })

  test('/readyz is 503 while the database cannot be read; /healthz is 200 as long as somebody answers', async () => {
    assert.deepEqual((await plane.ask('GET', '/readyz')).json, { status: 'ready' })
    using database = new DatabaseSync(join(plane.directory, 'dploy.db'), { timeout: 5_000 })
    database.exec('ALTER TABLE environments RENAME TO environments_aside')
    try {
      const answer = await plane.ask('GET', '/readyz')
      assert.deepEqual(
        [answer.status, answer.headers.get('content-type'), problemSchema.parse(answer.json).code],
        [503, 'application/problem+json', 'not_ready'],
      )
      assert.doesNotMatch(answer.text, /SQL|environments_aside|no such table/i)
      assert.equal((await plane.ask('GET', '/healthz')).json.status, 'ok')
    } finally {
      database.exec('ALTER TABLE environments_aside RENAME TO environments')
    }
    assert.equal((await plane.ask('GET', '/readyz')).status, 200)
  })

  test('/api is a page for people, of every operation, for everybody', async () => {
    const page = await plane.ask('GET', '/api', { headers: { accept: 'text/html' } })
    assert.equal(page.status, 200)
    assert.match(page.headers.get('content-type')!, /^text\/html/)
    assert.match(page.headers.get('content-security-policy')!, /default-src 'none'/)
    assert.doesNotMatch(
      page.text,
      /<script|<style|\bstyle=|\son[a-z]+=|(?:src|href)="(?:https?:)?\/\//,
      'it holds no script, and nothing from elsewhere',
    )
    for (const [name, { path, summary }] of table) {
      assert.ok(page.text.includes(`id="${name}"`), `${name} is not there`)
      assert.ok(page.text.includes(path.replaceAll(/:(\w+)/g, '{$1}')), `${path} is not there`)
      assert.ok(
        page.text
          .replaceAll(/&#39;|&apos;/g, "'")
          .replaceAll('&amp;', '&')
          .replaceAll('&quot;', '"')
          .includes(summary),
        `${name} is not explained`,
      )
    }
    for (const [, anchor] of page.text.matchAll(/href="#([^"]+)"/g))
      assert.ok(page.text.includes(`id="${anchor}"`), `#${anchor} leads nowhere`)
    assert.equal(
      (await plane.ask('GET', '/api', { headers: { 'if-none-match': page.headers.get('etag')! } })).status,
      304,
    )
    assert.match((await plane.ask('GET', '/api/reference.css')).headers.get('content-type')!, /^text\/css/)
  })

  function git(...args: string[]): void {
    execFileSync('git', ['-C', repository, '-c', 'user.name=Anna', '-c', 'user.email=anna@localhost', ...args], {
      env: { ...process.env, GIT_CONFIG_GLOBAL: '/dev/null' },
    })
  }

  async function apply(servers: string[]): Promise<void> {
    const text = JSON.stringify({
      application: 'shop',
      source: { repository },
      service: { command: 'node server.js', port: 3000 },
      environments: { production: { branch: 'main', badge: 'public', servers } },
    })
    await plane.client.call('apply', { body: { text } })
  }

  /** One more of everything that is listed: a release, a deployment (which is cancelled, as there are no agents), a run, entries in the audit log. */
  async function grow(): Promise<void> {
    writeFileSync(join(repository, 'version.txt'), String(deployed++))
    git('add', '--all')
    git('commit', '--quiet', '--message', `version ${deployed}`)
    const { number } = await plane.client.call('deploy', { params, body: {} })
    for await (const { data } of plane.client.stream('deploymentEvents', { params: { number } }))
      if (data.kind === 'state' && data.state === 'staging') await plane.client.call('cancel', { params: { number } })
    for await (const _ of plane.client.stream('exec', { params, body: { command: { line: 'true' } } })) continue
  }
})

interface Family {
  type: string
  /** Values by their labels, as they stand there. */
  samples: Map<string, number>
}

/** Reads Prometheus' text format as its documentation describes it (exposition_formats), and fails at what is not in it. */
function familiesOf(text: string): Map<string, Family> {
  const families = new Map<string, Family>()
  const values = new Map<string, number>()
  let current = ''
  assert.ok(text.endsWith('\n'))
  for (const line of text.trimEnd().split('\n')) {
    const help = /^# HELP ([a-zA-Z_:][a-zA-Z0-9_:]*) .+$/.exec(line)
    const type = /^# TYPE (\S+) (counter|gauge|histogram)$/.exec(line)
    if (help) {
      current = help[1]!
      assert.ok(!families.has(current), `${current} is described twice`)
      families.set(current, { type: '', samples: new Map() })
    } else if (type) {
      assert.equal(type[1], current)
      families.get(current)!.type = type[2]!
      assert.equal(type[2] === 'counter', current.endsWith('_total'), `${current} is a ${type[2]}`)
    } else {
      const sample =
        /^([a-zA-Z_:][a-zA-Z0-9_:]*)(?:\{((?:[a-zA-Z_]\w*="(?:[^"\\\n]|\\[\\"n])*",?)*)\})? ([-+\deE.]+|NaN|[-+]Inf)$/.exec(
          line,
        )
      assert.ok(sample, line)
      const [, name, labels = '', value] = sample
      const of = families.get(current)!
      assert.ok(
        name === current ||
          (of.type === 'histogram' && [`${current}_bucket`, `${current}_sum`, `${current}_count`].includes(name!)),
        `${name} stands under ${current}`,
      )
      assert.ok(!values.has(`${name}{${labels}}`), `${name}{${labels}} comes twice`)
      values.set(`${name}{${labels}}`, Number(value))
      of.samples.set(labels, Number(value))
    }
  }
  for (const [name, value] of values) {
    const bucket = /^(\w+)_bucket\{(.*?),?le="\+Inf"\}$/.exec(name)
    if (bucket) assert.equal(value, values.get(`${bucket[1]}_count{${bucket[2]}}`), `${name} is not the count`)
  }
  return families
}
