import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import { randomUUID } from 'node:crypto'
import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'node:test'
import { setTimeout as delay } from 'node:timers/promises'
import { Team, type Ended } from '../commands/team.ts'
import { githubPush, payloadOf, sendAsGithub, senders } from './sender.ts'

const nobody = 'https://github.com/example/elsewhere.git'
const commit = '4f1c2b7d9e03a586c1d2e4f5061728394a5b6c7d'
const linesOf = (ended: Ended) =>
  ended.stdout
    .toString()
    .trim()
    .split('\n')
    .filter((line) => line !== '')
    .map((line) => JSON.parse(line) as Record<string, unknown>)

test('a service hears at once whether its signature is right, and the webhook tells what came of each message', async () => {
  await using team = await Team.up({ servers: 1 })
  const made = await team.dploy('webhook', 'add', 'github', '--json')
  assert.equal(made.code, 0, made.stderr)
  const { webhook, secret } = linesOf(made)[0] as { webhook: { id: string; url: string }; secret: string }
  const url = `${team.url}${new URL(webhook.url, team.url).pathname}`
  const send = (
    payload: Record<string, unknown>,
    options: { event?: string; delivery?: string; secret?: string } = {},
  ) => sendAsGithub(url, options.secret ?? secret, payload, options)

  assert.deepEqual(
    await send(payloadOf('github-ping'), { event: 'ping' }).then(({ status, body }) => [status, body.state]),
    [200, 'ignored'],
  )
  assert.deepEqual(await send(payloadOf('github-delete-tag')).then(({ status, body }) => [status, body.state]), [
    200,
    'ignored',
  ])
  assert.deepEqual(
    await send({ anything: true }).then(({ status, body }) => [status, body.state]),
    [200, 'ignored'],
    'what is signed and unreadable is no error',
  )
  assert.deepEqual(
    await send(githubPush(nobody, 'other', commit), { delivery: 'one' }).then(({ status, body }) => [
      status,
      body.state,
    ]),
    [202, 'accepted'],
  )
  assert.deepEqual(
    await send(githubPush(nobody, 'other', commit), { delivery: 'one' }).then(({ status, body }) => [
      status,
      body.state,
    ]),
    [200, 'known'],
  )
  assert.deepEqual(
    await send(githubPush(nobody, 'main', commit), { secret: 'what a stranger would guess' }).then(
      ({ status, body }) => [status, body.code],
    ),
    [401, 'webhook.forged'],
  )
  assert.equal((await sendAsGithub(url.replace(webhook.id, 'whk_0000000000000000'), secret, {})).status, 404)
  assert.equal((await sendAsGithub(url.replace(webhook.id, '..%2f..%2fetc'), secret, {})).status, 400)

  const deliveries = async () => linesOf(await team.dploy('webhook', 'list', webhook.id, '--json'))
  for (
    const deadline = Date.now() + 20_000;
    (await deliveries()).some(({ state }) => state === 'waiting');
    await delay(50)
  )
    assert.ok(Date.now() < deadline, 'it is worked through')
  const came = await deliveries()
  assert.equal(came.length, 4, 'what was forged is not kept')
  const pushed = came.find(({ delivery }) => delivery === 'one') as { results: { reason: string; deployment: null }[] }
  assert.deepEqual(pushed.results, [
    { application: 'shop', environment: 'production', deployment: null, reason: 'it follows main' },
  ])

  const again = await team.dploy('webhook', 'redeliver', webhook.id, (pushed as unknown as { id: string }).id, '--json')
  assert.equal(again.code, 0, again.stderr)
  const { id: repeated } = linesOf(again)[0] as { id: string }
  for (const deadline = Date.now() + 20_000; ; await delay(50)) {
    const found = (await deliveries()).find(({ id }) => id === repeated) as
      { state: string; results: unknown[]; againBy: string } | undefined
    if (found?.state === 'done') {
      assert.deepEqual(found.results, pushed.results, 'what came once more is judged as the first time')
      break
    }
    assert.ok(Date.now() < deadline, 'it is worked through again')
  }
  const ping = came.find(({ event }) => event === 'ping') as { id: string }
  assert.match((await team.dploy('webhook', 'redeliver', webhook.id, ping.id)).stderr, /told of no push/)

  const rehearsal = linesOf(await team.dploy('webhook', 'test', webhook.id, 'main', '--json'))[0]
  assert.deepEqual(rehearsal!.results, [
    { application: 'shop', environment: 'production', deploys: true, reason: 'it follows main' },
  ])
  const listed = await team.dploy('webhook', 'list', '--json')
  assert.ok(!listed.stdout.toString().includes(secret), 'the secret is shown once')
  const audited = (await team.dploy('audit', '--json')).stdout.toString()
  assert.match(audited, /addWebhook/)
  assert.match(audited, /redeliver/)
  assert.ok(!audited.includes(secret))
  assert.equal((await team.dploy('webhook', 'remove', webhook.id, '--json')).code, 0)
  assert.equal((await send(githubPush(nobody, 'main', commit))).status, 404)
})

test(
  'a push of every other service is deployed, in the name of who pushed, once; what is forged starts nothing',
  { timeout: 120_000 },
  async (t) => {
    await using team = await Team.up({ servers: 1 })
    const config = JSON.stringify({
      application: 'shop',
      build: { leave_out: ['dploy.yml'] },
      environments: {
        production: { branch: 'main', servers: ['web1'], strategy: { kind: 'all-at-once', bake: '0s' } },
      },
    })
    writeFileSync(join(team.directory, 'dploy.yml'), config)
    writeFileSync(join(team.directory, '.gitignore'), '/.dploy\n/web*\n*.log\n')
    await team.client.call('apply', { body: { text: config, base: team.directory } })
    const git = (...args: string[]) =>
      execFileSync(
        'git',
        ['-C', team.directory, '-c', 'user.name=Anna', '-c', 'user.email=anna@example.org', ...args],
        { encoding: 'utf8', env: { ...process.env, GIT_CONFIG_GLOBAL: '/dev/null' } },
      ).trim()
    git('init', '--quiet', '--initial-branch=main')
    const newest = async () => (await team.client.call('deployments', { query: { limit: 1 } })).deployments[0]

    for (const [name, sender] of Object.entries(senders)) {
      await t.test(name, async () => {
        const before = (await newest())?.number ?? 0
        writeFileSync(join(team.directory, 'version.txt'), `${name}\n`)
        git('add', '--all')
        git('commit', '--quiet', '--message', name)
        const pushed = git('rev-parse', 'HEAD')
        const { webhook, secret } = await team.client.call('addWebhook', {
          body: { service: sender.service as 'gitlab', application: 'shop' },
        })
        const body = JSON.stringify(sender.at(payloadOf(sender.payload), pushed))
        const delivery = randomUUID()
        const send = async (signedWith: string, text = body) => {
          const response = await fetch(`${team.url}${new URL(webhook.url, team.url).pathname}`, {
            method: 'POST',
            body: text,
            headers: { 'content-type': 'application/json', ...sender.headers(signedWith, body, delivery) },
            signal: AbortSignal.timeout(10_000),
          })
          const answer = (await response.json()) as { state?: string; code?: string }
          return `${response.status} ${answer.state ?? answer.code}`
        }
        assert.equal(await send(`${secret.slice(0, -8)}AAAAAAA=`), '401 webhook.forged')
        if (name !== 'GitLab with its secret token')
          assert.equal(await send(secret, `${body} `), '401 webhook.forged', 'one byte more than was signed')
        assert.equal(await send(secret), '202 accepted')
        assert.equal(await send(secret), '200 known')
        for (
          const deadline = Date.now() + 30_000;
          (await newest())?.number !== before + 1 || (await newest())!.finishedAt === null;
          await delay(50)
        )
          assert.ok(
            Date.now() < deadline,
            JSON.stringify((await team.client.call('deliveries', { params: { webhook: webhook.id } })).deliveries),
          )
        const deployed = (await newest())!
        assert.deepEqual(
          [deployed.state, deployed.revision?.commit, deployed.requestedBy],
          ['succeeded', pushed, `anna (push to ${sender.title})`],
        )
        assert.equal(readFileSync(join(team.root('web1'), 'srv/shop/current/version.txt'), 'utf8'), `${name}\n`)
        const [came] = (await team.client.call('deliveries', { params: { webhook: webhook.id } })).deliveries
        assert.deepEqual(
          [
            came!.delivery,
            came!.branches,
            came!.repository?.toLowerCase().includes('example/shop'),
            came!.results[0]!.deployment,
          ],
          [delivery, ['main'], true, deployed.number],
        )
      })
    }
  },
)
