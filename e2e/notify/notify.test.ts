import assert from 'node:assert/strict'
import { test } from 'node:test'
import { setTimeout as delay } from 'node:timers/promises'
import { Plane } from '../api/plane.ts'
import { HttpReceiver } from './http-receiver.ts'

const params = { application: 'shop', environment: 'production' }
const config = (notify: unknown[], badge = 'none') =>
  JSON.stringify({
    application: 'shop',
    source: '/nowhere',
    service: { command: 'node server.mjs', port: 3000 },
    notify,
    environments: { production: { branch: 'main', badge, servers: ['web1'] } },
  })

test('what happened is told after the control plane was stopped in between, with the same id', async () => {
  await using receiver = await HttpReceiver.up()
  await using plane = await Plane.up()
  await plane.client.call('apply', {
    body: {
      text: config([
        { kind: 'slack', secret: 'SLACK_ADDRESS' },
        { kind: 'webhook', url: receiver.url, secret: 'HOOK_KEY' },
      ]),
    },
  })
  await plane.client.call('setSecret', { params: { ...params, name: 'HOOK_KEY' }, body: { value: 'any text will do' } })
  receiver.answers.push({ status: 503 })
  const { number } = await plane.client.call('deploy', { params, body: {} })
  await until(() => receiver.received.length === 1, 'the first try')
  await until(
    async () =>
      (await plane.client.call('notifications', { params })).targets.some(({ reason }) =>
        /answered 503/.test(reason ?? ''),
      ),
    'its failure is known',
  )
  await plane.stop()
  await plane.start()
  await until(() => receiver.received.length === 2, 'the second try')
  const [first, second] = receiver.received
  assert.equal(first!.headers['webhook-id'], second!.headers['webhook-id'])
  const told = JSON.parse(second!.body) as {
    type: string
    data: { deployment: { number: number; failure: { code: string } } }
  }
  assert.deepEqual(
    [told.type, told.data.deployment.number, told.data.deployment.failure.code],
    ['deployment.failed', number, 'source.unreachable'],
  )

  const { targets } = await plane.client.call('notifications', { params })
  assert.deepEqual(
    targets.map(({ name, state }) => [name, state]),
    [
      ['slack (SLACK_ADDRESS)', 'failing'],
      [`webhook to ${new URL(receiver.url).host}`, 'working'],
    ],
  )
  assert.match(targets[0]!.reason!, /dploy secret set production SLACK_ADDRESS/)
  await plane.client.call('testNotification', { params: { ...params, key: targets[1]!.key } })
  assert.match(receiver.received.at(-1)!.body, /"type":"test"/)
  await assert.rejects(plane.client.call('testNotification', { params: { ...params, key: targets[0]!.key } }), {
    code: 'notification.undelivered',
  })
  await assert.rejects(plane.client.call('testNotification', { params: { ...params, key: 'abc' } }), {
    code: 'notification.unknown',
  })
})

test('a badge is seen by whom dploy.yml allows it, cached for moments, and is not there for others', async () => {
  await using plane = await Plane.up()
  const see = (query = '', headers: Record<string, string> = {}) =>
    fetch(`${plane.url}/badge/shop/production.svg${query}`, { headers })
  const allow = (badge: string) => plane.client.call('apply', { body: { text: config([], badge) } })
  await allow('none')
  assert.equal((await see()).status, 404)
  assert.equal((await plane.client.call('badgeAddress', { params })).url, null)
  await allow('public')
  const seen = await see()
  assert.equal(seen.status, 200)
  assert.equal(seen.headers.get('content-type'), 'image/svg+xml; charset=utf-8')
  assert.equal(seen.headers.get('cache-control'), 'public, max-age=30')
  assert.match(await seen.text(), /^<svg .*nothing deployed.*<\/svg>$/)
  const unchanged = await see('', { 'if-none-match': seen.headers.get('etag')! })
  assert.deepEqual([unchanged.status, await unchanged.text()], [304, ''])
  await allow('token')
  assert.equal((await see()).status, 404)
  assert.equal((await see('?token=a-guess')).status, 404)
  const { url } = await plane.client.call('badgeAddress', { params })
  const token = await fetch(new URL(new URL(url!, plane.url).pathname + new URL(url!, plane.url).search, plane.url))
  assert.deepEqual([token.status, token.headers.get('cache-control')], [200, 'private, max-age=30'])
  assert.equal((await fetch(`${plane.url}/badge/shop/${encodeURIComponent('../../etc/passwd')}.svg`)).status, 404)
  assert.equal((await fetch(`${plane.url}/badge/shop/production.png`)).status, 400)
})

test('in a protected environment a deployer changes nothing of who is told: that needs no approval', async () => {
  await using plane = await Plane.up()
  const text = (notify: unknown[], replicas: number) =>
    JSON.stringify({
      ...(JSON.parse(config(notify)) as object),
      variables: { REPLICAS: replicas },
      environments: { production: { protected: true, servers: ['web1'] } },
    })
  const mine = [
    {
      kind: 'email',
      server: 'mail.evil.example:587',
      user: 'me',
      secret: 'DATABASE_URL',
      from: 'me@evil.example',
      to: ['me@evil.example'],
    },
  ]
  await plane.client.call('apply', { body: { text: text([], 1) } })
  const { token } = await plane.client.call('createToken', {
    body: { note: 'deployer', right: 'deploy', places: null, days: null },
  })
  await plane.as(token).call('apply', { body: { text: text([], 2) } })
  await assert.rejects(plane.as(token).call('apply', { body: { text: text(mine, 2) } }), { code: 'forbidden' })
  assert.deepEqual((await plane.client.call('notifications', { params })).targets, [])
})

async function until(done: () => boolean | Promise<boolean>, what: string): Promise<void> {
  for (const deadline = Date.now() + 60_000; !(await done()); await delay(50)) assert.ok(Date.now() < deadline, what)
}
