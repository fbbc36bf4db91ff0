import assert from 'node:assert/strict'
import { test } from 'node:test'
import { setTimeout as delay } from 'node:timers/promises'
import { Team, type Ended } from '../commands/team.ts'
import { githubPush, payloadOf, sendAsGithub } from './sender.ts'

const nobody = 'https://github.com/example/elsewhere.git'
const commit = '4f1c2b7d9e03a586c1d2e4f5061728394a5b6c7d'
const linesOf = (ended: Ended) => ended.stdout.toString().trim().split('\n').filter((line) => line !== '').map((line) => JSON.parse(line) as Record<string, unknown>)

test('a service hears at once whether its signature is right, and the webhook tells what came of each message', async () => {
  await using team = await Team.up({ servers: 1 })
  const made = await team.dploy('webhook', 'add', 'github', '--json')
  assert.equal(made.code, 0, made.stderr)
  const { webhook, secret } = linesOf(made)[0] as { webhook: { id: string; url: string }; secret: string }
  const url = `${team.url}${new URL(webhook.url, team.url).pathname}`
  const send = (payload: Record<string, unknown>, options: { event?: string; delivery?: string; secret?: string } = {}) => sendAsGithub(url, options.secret ?? secret, payload, options)

  assert.deepEqual(await send(payloadOf('github-ping'), { event: 'ping' }).then(({ status, body }) => [status, body.state]), [200, 'ignored'])
  assert.deepEqual(await send(payloadOf('github-delete-tag')).then(({ status, body }) => [status, body.state]), [200, 'ignored'])
  assert.deepEqual(await send({ anything: true }).then(({ status, body }) => [status, body.state]), [200, 'ignored'], 'what is signed and unreadable is no error')
  assert.deepEqual(await send(githubPush(nobody, 'other', commit), { delivery: 'one' }).then(({ status, body }) => [status, body.state]), [202, 'accepted'])
  assert.deepEqual(await send(githubPush(nobody, 'other', commit), { delivery: 'one' }).then(({ status, body }) => [status, body.state]), [200, 'known'])
  assert.deepEqual(await send(githubPush(nobody, 'main', commit), { secret: 'what a stranger would guess' }).then(({ status, body }) => [status, body.code]), [401, 'webhook.forged'])
  assert.equal((await sendAsGithub(url.replace(webhook.id, 'whk_0000000000000000'), secret, {})).status, 404)
  assert.equal((await sendAsGithub(url.replace(webhook.id, '..%2f..%2fetc'), secret, {})).status, 400)

  const deliveries = async () => linesOf(await team.dploy('webhook', 'list', webhook.id, '--json'))
  for (const deadline = Date.now() + 20_000; (await deliveries()).some(({ state }) => state === 'waiting'); await delay(50)) assert.ok(Date.now() < deadline, 'it is worked through')
  const came = await deliveries()
  assert.equal(came.length, 4, 'what was forged is not kept')
  const pushed = came.find(({ delivery }) => delivery === 'one') as { results: { reason: string; deployment: null }[] }
  assert.deepEqual(pushed.results, [{ application: 'shop', environment: 'production', deployment: null, reason: 'it follows main' }])

  const again = await team.dploy('webhook', 'redeliver', webhook.id, (pushed as unknown as { id: string }).id, '--json')
  assert.equal(again.code, 0, again.stderr)
  const { id: repeated } = linesOf(again)[0] as { id: string }
  for (const deadline = Date.now() + 20_000; ; await delay(50)) {
    const found = (await deliveries()).find(({ id }) => id === repeated) as { state: string; results: unknown[]; againBy: string } | undefined
    if (found?.state === 'done') {
      assert.deepEqual(found.results, pushed.results, 'what came once more is judged as the first time')
      break
    }
    assert.ok(Date.now() < deadline, 'it is worked through again')
  }
  const ping = came.find(({ event }) => event === 'ping') as { id: string }
  assert.match((await team.dploy('webhook', 'redeliver', webhook.id, ping.id)).stderr, /told of no push/)

  const rehearsal = linesOf(await team.dploy('webhook', 'test', webhook.id, 'main', '--json'))[0]
  assert.deepEqual(rehearsal!.results, [{ application: 'shop', environment: 'production', deploys: true, reason: 'it follows main' }])
  const listed = await team.dploy('webhook', 'list', '--json')
  assert.ok(!listed.stdout.toString().includes(secret), 'the secret is shown once')
  const audited = (await team.dploy('audit', '--json')).stdout.toString()
  assert.match(audited, /addWebhook/)
  assert.match(audited, /redeliver/)
  assert.ok(!audited.includes(secret))
  assert.equal((await team.dploy('webhook', 'remove', webhook.id, '--json')).code, 0)
  assert.equal((await send(githubPush(nobody, 'main', commit))).status, 404)
})
