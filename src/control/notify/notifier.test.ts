import assert from 'node:assert/strict'
import { createHmac } from 'node:crypto'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import { setTimeout as delay } from 'node:timers/promises'
import pino from 'pino'
import { HttpReceiver } from '../../../e2e/notify/http-receiver.ts'
import { SmtpServer } from '../../../e2e/notify/smtp-server.ts'
import { readConfig } from '../../protocol/config/text.ts'
import type { DeploymentState } from '../../protocol/deployment.ts'
import { SecretBox } from '../secrets/secret-box.ts'
import { openSqlite } from '../store/sqlite.ts'
import { openStore, type Store } from '../store/store.ts'
import { GoneServers } from './gone-servers.ts'
import { Notifier, type Patience } from './notifier.ts'
import { isForbidden, post } from './post.ts'
import { slackMessage } from './slack.ts'
import { targetsOf } from './targets.ts'

const commit = '4f1c2b7d9e03a586c1d2e4f5061728394a5b6c7d'
const key = Buffer.from('a key of thirty-two bytes, really')
const values = { HOOK_KEY: `whsec_${key.toString('base64')}`, SMTP_PASSWORD: 'correct horse', GIT_TOKEN: 'a token' }
const log = pino({ level: 'silent' })

/** A control plane's memory on disk, that can be closed and opened anew. */
class Shop implements AsyncDisposable {
  readonly directory = mkdtempSync(join(tmpdir(), 'dploy-notify-'))
  readonly #box = SecretBox.withKey()
  readonly #patience: Partial<Patience>
  store!: Store
  notifier!: Notifier

  private constructor(patience: Partial<Patience>) {
    this.#patience = { first: 20, longest: 50, ...patience }
  }

  static async up(
    notify: unknown[],
    secrets: Record<string, string> = values,
    patience: Partial<Patience> = {},
  ): Promise<Shop> {
    const shop = new Shop(patience)
    await shop.#open()
    await shop.apply(notify)
    for (const [name, value] of Object.entries(secrets))
      await shop.store.secrets.set(await shop.id(), name, value, 'anna', 1)
    return shop
  }

  async apply(notify: unknown[]): Promise<void> {
    const text = JSON.stringify({
      application: 'shop',
      source: 'git@github.com:example/shop.git',
      service: { command: 'node server.js', port: 3000 },
      notify,
      environments: { production: { servers: ['web1'] } },
    })
    await this.store.applications.apply(readConfig(text), null, 1)
  }

  async id(): Promise<string> {
    return (await this.store.applications.environmentId('shop', 'production'))!
  }

  async environment() {
    return this.store.applications.environment('shop', 'production')
  }

  /** kill -9 leaves no more than this: the file. */
  async restart(): Promise<void> {
    await this.store[Symbol.asyncDispose]()
    await this.#open()
  }

  /** A deployment that goes through these states. */
  async deploy(states: DeploymentState[], subject = 'Show the price with tax'): Promise<void> {
    const environment = await this.environment()
    const id = await this.store.deployments.create(
      {
        environmentId: environment.id,
        kind: 'deploy',
        request: { revision: 'main', artifact: null, release: null, servers: null },
        config: environment.config,
        base: null,
        requestedBy: 'anna',
        releaseId: null,
        fromReleaseId: null,
      },
      Date.now(),
    )
    const fence = await this.store.locks.acquire(environment.id, id, 'test', Date.now(), () => false)
    let from: DeploymentState = 'queued'
    for (const to of states) {
      const failure =
        to === 'failed'
          ? {
              code: 'service.unhealthy' as const,
              message: 'web1 did not become healthy',
              fix: 'Read what it printed: dploy logs',
            }
          : undefined
      await this.store.deployments.transition(id, fence, from, to, Date.now(), {
        ...(to === 'building' ? { revision: { commit, ref: 'main', subject, author: 'Anna', time: 1 } } : {}),
        ...(failure ? { failure } : {}),
      })
      from = to
    }
    await this.store.locks.release(environment.id, fence)
  }

  /** Works until what is asked for is so. */
  async until(done: () => boolean | Promise<boolean>): Promise<void> {
    for (const deadline = Date.now() + 20_000; !(await done()); await delay(10)) {
      assert.ok(Date.now() < deadline, 'in time')
      await this.notifier.work()
    }
  }

  async target() {
    return (await this.store.outbox.targets(await this.id()))[0]!
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.notifier[Symbol.asyncDispose]()
    await this.store[Symbol.asyncDispose]()
    rmSync(this.directory, { recursive: true, force: true })
  }

  async #open(): Promise<void> {
    this.store = await openStore(openSqlite(join(this.directory, 'dploy.db')), this.#box)
    this.notifier = new Notifier({
      store: this.store,
      log,
      pageOf: (number) => `https://dploy.example.org/deployments/${number}`,
      patience: this.#patience,
    })
  }
}

const whole: DeploymentState[] = ['resolving', 'building', 'staging', 'committing', 'activating', 'baking', 'succeeded']

test('a signed webhook arrives in order, with the same id each time it is tried, through failures and a restart', async () => {
  await using receiver = await HttpReceiver.up()
  await using shop = await Shop.up([
    { kind: 'webhook', url: `${receiver.url}/dploy`, secret: 'HOOK_KEY', on: ['started', 'succeeded'] },
  ])
  receiver.answers.push({ status: 500 }, { status: 503, headers: { 'retry-after': '0' } })
  await shop.deploy(whole)
  await shop.notifier.work()
  assert.equal(receiver.received.length, 1, 'what comes after waits for what came before')
  await shop.restart()
  await shop.until(async () => (await shop.target()).waiting === 0)
  assert.equal(receiver.received.length, 4)
  const ids = receiver.received.map(({ headers }) => headers['webhook-id'])
  assert.equal(new Set(ids).size, 2)
  assert.equal(new Set(ids.slice(0, 3)).size, 1)
  for (const { body, headers, path, method } of receiver.received) {
    assert.deepEqual([method, path], ['POST', '/dploy'])
    const signed = `${String(headers['webhook-id'])}.${String(headers['webhook-timestamp'])}.${body}`
    assert.equal(headers['webhook-signature'], `v1,${createHmac('sha256', key).update(signed).digest('base64')}`)
    assert.ok(Math.abs(Number(headers['webhook-timestamp']) - Date.now() / 1_000) < 60)
  }
  const [first, last] = [receiver.received[0]!, receiver.received[3]!].map(
    ({ body }) =>
      JSON.parse(body) as {
        type: string
        data: { deployment: { number: number; revision: { commit: string }; url: string; failure: null } }
      },
  )
  assert.deepEqual([first!.type, last!.type], ['deployment.started', 'deployment.succeeded'])
  assert.equal(last!.data.deployment.revision.commit, commit)
  assert.equal(last!.data.deployment.url, 'https://dploy.example.org/deployments/1')
  await shop.notifier.work()
  assert.equal(receiver.received.length, 4, 'once it arrived it is not sent again')
  assert.equal((await shop.target()).reason, null)
})

test('who does not answer keeps nobody else waiting', async () => {
  await using receiver = await HttpReceiver.up()
  await using shop = await Shop.up([
    { kind: 'webhook', url: 'http://127.0.0.1:9/', secret: 'HOOK_KEY' },
    { kind: 'webhook', url: receiver.url, secret: 'HOOK_KEY' },
  ])
  await shop.deploy(['resolving', 'failed'])
  await shop.until(() => receiver.received.length === 1)
  const body = JSON.parse(receiver.received[0]!.body) as {
    type: string
    data: { deployment: { failure: { code: string; fix: string } } }
  }
  assert.equal(body.type, 'deployment.failed')
  assert.equal(body.data.deployment.failure.code, 'service.unhealthy')
  const failing = (await shop.store.outbox.targets(await shop.id())).find(({ waiting }) => waiting === 1)!
  assert.match(failing.reason!, /127\.0\.0\.1:9 cannot be reached/)
})

test('Slack gets text and blocks, in which nothing of a commit is taken for mark-up', async () => {
  await using receiver = await HttpReceiver.up()
  await using shop = await Shop.up([{ kind: 'slack', secret: 'SLACK_ADDRESS' }], {
    SLACK_ADDRESS: `${receiver.url}/services/T0/B0/secret`,
  })
  receiver.answers.push({ status: 404, body: 'no_service' })
  await shop.deploy(whole, 'Greet <!channel> & *all*')
  await shop.notifier.work()
  assert.match((await shop.target()).reason!, /answered 404 \(no_service\)/)
  assert.ok(!(await shop.target()).reason!.includes('secret'), 'its address is a secret')
  await shop.until(() => receiver.received.length === 2)
  const message = JSON.parse(receiver.received[1]!.body) as ReturnType<typeof slackMessage>
  assert.match(message.text, /^✅ shop\/production: deployment 1 by anna succeeded in \d+\.\d s$/)
  assert.match(message.blocks[1]!.text.text, /4f1c2b7d Greet &lt;!channel&gt; &amp; \u200b\*all/)
  assert.match(message.blocks[1]!.text.text, /https:\/\/dploy\.example\.org\/deployments\/1$/)
})

test('a mail is handed to the mail server, again after it refused, with the same Message-ID', async () => {
  await using server = await SmtpServer.up({ user: 'dploy', password: values.SMTP_PASSWORD })
  await using shop = await Shop.up([
    {
      kind: 'email',
      server: server.address,
      tls: 'none',
      user: 'dploy',
      secret: 'SMTP_PASSWORD',
      from: 'dploy@example.org',
      to: ['anna@example.org', 'bert@example.org'],
    },
  ])
  server.refusals.push('451 come back later')
  await shop.deploy(['resolving', 'failed'])
  await shop.notifier.work()
  assert.match((await shop.target()).reason!, /answered 451/)
  await shop.restart()
  await shop.until(() => server.mails.length === 1)
  const [mail] = server.mails
  assert.deepEqual([mail!.from, mail!.to], ['dploy@example.org', ['anna@example.org', 'bert@example.org']])
  assert.match(mail!.text, /^Subject: shop\/production: deployment 1 by anna failed$/m)
  assert.match(mail!.text, /^web1 did not become healthy$/m)
  assert.match(mail!.text, /^Message-ID: <msg_[a-z0-9]+@example\.org>$/m)
})

test('a wrong password is told without the password, and none is said where TLS is asked for and not there', async () => {
  await using server = await SmtpServer.up({ user: 'dploy', password: 'another' })
  const entry = {
    kind: 'email',
    server: server.address,
    user: 'dploy',
    secret: 'SMTP_PASSWORD',
    from: 'dploy@example.org',
    to: ['anna@example.org'],
  }
  await using shop = await Shop.up([{ ...entry, tls: 'none' }])
  await shop.deploy(['resolving', 'failed'])
  await shop.notifier.work()
  assert.match((await shop.target()).reason!, /does not take user and password \(535\)/)
  assert.ok(!(await shop.target()).reason!.includes('horse'))
  server.lines.length = 0
  await shop.apply([entry])
  const [target] = targetsOf(await shop.environment())
  await assert.rejects(shop.notifier.test(await shop.environment(), target!.key, 'anna'), {
    code: 'notification.undelivered',
  })
  assert.ok(!server.lines.some((line) => line.startsWith('AUTH')), server.lines.join('\n'))
})

test('GitHub and GitLab get a status at the commit', async () => {
  await using receiver = await HttpReceiver.up()
  await using shop = await Shop.up([
    { kind: 'commit_status', service: 'github', api: `${receiver.url}/github`, secret: 'GIT_TOKEN' },
    {
      kind: 'commit_status',
      service: 'gitlab',
      api: `${receiver.url}/api/v4`,
      repository: 'example/backend/shop',
      secret: 'GIT_TOKEN',
    },
  ])
  await shop.deploy(whole)
  await shop.until(() => receiver.received.length === 4)
  const of = (service: string) =>
    receiver.received
      .filter(({ path }) => path.startsWith(service))
      .map(({ path, headers, body }) => ({ path, headers, body: JSON.parse(body) as Record<string, string> }))
  const github = of('/github')
  assert.deepEqual([...new Set(github.map(({ path }) => path))], [`/github/repos/example/shop/statuses/${commit}`])
  assert.deepEqual(
    github.map(({ body }) => [body.state, body.context]),
    [
      ['pending', 'dploy/production'],
      ['success', 'dploy/production'],
    ],
  )
  assert.equal(github[0]!.headers.authorization, 'Bearer a token')
  const gitlab = of('/api/v4')
  assert.deepEqual(
    [...new Set(gitlab.map(({ path }) => path))],
    [`/api/v4/projects/example%2Fbackend%2Fshop/statuses/${commit}`],
  )
  assert.deepEqual(
    gitlab.map(({ body }) => [body.state, body.name]),
    [
      ['running', 'dploy/production'],
      ['success', 'dploy/production'],
    ],
  )
  assert.equal(gitlab[0]!.headers['private-token'], 'a token')
})

test('GitLab refusing to go from a state to the same one counts as arrived', async () => {
  await using receiver = await HttpReceiver.up()
  await using shop = await Shop.up([
    { kind: 'commit_status', service: 'gitlab', api: receiver.url, secret: 'GIT_TOKEN' },
  ])
  receiver.answers.push({ status: 400, body: '{"message":"Cannot transition status via :run from :running"}' })
  await shop.deploy(['resolving', 'building'])
  await shop.until(async () =>
    (await shop.store.outbox.targets(await shop.id())).some(({ deliveredAt }) => deliveredAt !== null),
  )
})

test('redirects are not followed, nor are addresses where clouds keep credentials', async () => {
  await using elsewhere = await HttpReceiver.up()
  await using receiver = await HttpReceiver.up()
  receiver.answers.push({ status: 302, headers: { location: elsewhere.url } })
  await assert.rejects(post(receiver.url, {}, '{}'), /answered 302, and redirects are not followed/)
  assert.equal(elsewhere.received.length, 0)
  for (const address of [
    'http://169.254.169.254/latest/meta-data',
    'http://[fe80::1]/',
    'http://[::ffff:169.254.169.254]/',
    'http://2852039166/',
    'http://[fd00:ec2::254]/',
  ])
    await assert.rejects(post(address, {}, '{}'), /no address to send to/, address)
  for (const address of ['ftp://127.0.0.1/', 'file:///etc/passwd', 'not an address'])
    await assert.rejects(post(address, {}, '{}'), /not http or https/, address)
  assert.ok(!isForbidden('10.0.0.5') && !isForbidden('127.0.0.1'))
})

test('what answers 410, or fails for long, is disabled with its reason, until a test arrives', async () => {
  await using receiver = await HttpReceiver.up()
  await using shop = await Shop.up([{ kind: 'webhook', url: receiver.url, secret: 'HOOK_KEY' }], values, {
    disable: 100,
  })
  receiver.answers.push({ status: 410 })
  await shop.deploy(whole)
  await shop.notifier.work()
  assert.match((await shop.target()).reason!, /answered 410: it does not want any more/)
  assert.ok((await shop.target()).disabledAt !== null)
  await shop.deploy(whole)
  await shop.notifier.work()
  assert.equal(receiver.received.length, 1, 'nothing is sent there any more')
  await shop.notifier.test(await shop.environment(), (await shop.target()).key, 'anna')
  assert.equal((await shop.target()).disabledAt, null)
  assert.match(receiver.received[1]!.body, /"type":"test"/)
  receiver.answers.push(...Array.from({ length: 200 }, () => ({ status: 500 })))
  await shop.deploy(whole)
  await shop.until(async () => (await shop.target()).disabledAt !== null)
  assert.match((await shop.target()).reason!, /nothing arrived since .*answered 500/)
  assert.equal((await shop.target()).waiting, 0)
})

test('a secret that is not set is asked for by name, and what waits arrives once it is', async () => {
  await using receiver = await HttpReceiver.up()
  await using shop = await Shop.up([{ kind: 'slack', secret: 'SLACK_ADDRESS' }], {})
  await shop.deploy(whole)
  await shop.notifier.work()
  assert.match((await shop.target()).reason!, /SLACK_ADDRESS is not set: dploy secret set production SLACK_ADDRESS/)
  await shop.store.secrets.set(await shop.id(), 'SLACK_ADDRESS', receiver.url, 'anna', 2)
  await shop.until(() => receiver.received.length === 1)
})

test('a server that stays away is told of once, and again after it was back', async () => {
  await using receiver = await HttpReceiver.up()
  await using shop = await Shop.up([{ kind: 'webhook', url: receiver.url, secret: 'HOOK_KEY' }])
  const { store, notifier } = shop
  const server = (await store.servers.named('web1'))!
  let link: { open: boolean } | null = null
  using watch = new GoneServers({
    store,
    gateway: { link: () => link as never },
    notifier,
    log,
    patience: 60_000,
    lookEvery: 1e9,
  })
  await watch.look(0)
  await watch.look(120_000)
  await notifier.work()
  assert.equal(receiver.received.length, 0, 'it never was there')
  await store.servers.seen(server.id, {}, 130_000)
  for (const at of [130_000, 180_000, 191_000, 250_000]) await watch.look(at)
  await notifier.work()
  assert.deepEqual(
    receiver.received.map(
      ({ body }) => (JSON.parse(body) as { type: string; data: { server: { name: string } } }).data.server.name,
    ),
    ['web1'],
  )
  link = { open: true }
  await watch.look(300_000)
  link = null
  await store.servers.seen(server.id, {}, 300_000)
  for (const at of [310_000, 380_000]) await watch.look(at)
  await notifier.work()
  assert.equal(receiver.received.length, 2)
})
