import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { test } from 'node:test'
import type { WebhookService } from '../../../protocol/api/webhooks.ts'
import { hmacHex, standardSignature } from '../signature.ts'
import { services } from './registry.ts'

const fixture = (name: string) =>
  readFileSync(new URL(`../../../../e2e/webhooks/fixtures/${name}.json`, import.meta.url))
const json = (name: string) => JSON.parse(fixture(name).toString()) as Record<string, unknown>
const commit = '4f1c2b7d9e03a586c1d2e4f5061728394a5b6c7d'
const now = 1_790_000_000_000

test("GitHub's signature is the one of the example in its documentation", () => {
  // https://docs.github.com/en/webhooks/using-webhooks/validating-webhook-deliveries, "Testing the webhook payload validation"
  const signature = 'sha256=757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17'
  const body = Buffer.from('Hello, World!')
  assert.ok(services.github.isSigned("It's a Secret to Everybody", { 'x-hub-signature-256': signature }, body, now))
  assert.ok(
    !services.github.isSigned(
      "It's a Secret to Everybody",
      { 'x-hub-signature-256': signature },
      Buffer.from('Hello, World?'),
      now,
    ),
  )
})

test('a signature of Standard Webhooks is the one of the example in its specification', () => {
  // https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md
  assert.equal(
    standardSignature(
      'whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw',
      'msg_p5jXN8AQM9LWM0D4loKWxJek',
      1_614_265_330,
      '{"test": 2432232314}',
    ),
    'v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=',
  )
})

for (const [service, name, event, by, urls] of [
  [
    'github',
    'github-push',
    'push',
    'anna',
    [
      'https://github.com/example/shop.git',
      'git@github.com:example/shop.git',
      'git://github.com/example/shop.git',
      'https://github.com/example/shop',
    ],
  ],
  [
    'gitlab',
    'gitlab-push',
    'Push Hook',
    'anna',
    [
      'https://gitlab.example.org/example/shop.git',
      'git@gitlab.example.org:example/shop.git',
      'https://gitlab.example.org/example/shop',
    ],
  ],
  ['bitbucket', 'bitbucket-cloud-push', 'repo:push', 'anna', ['https://bitbucket.org/example/shop']],
  ['bitbucket', 'bitbucket-data-center-push', 'repo:refs_changed', 'anna', []],
  [
    'gitea',
    'gitea-push',
    'push',
    'anna',
    [
      'https://git.example.org/example/shop.git',
      'git@git.example.org:example/shop.git',
      'https://git.example.org/example/shop',
    ],
  ],
] as [WebhookService, string, string, string, string[]][]) {
  test(`a push is read from what ${name} shows`, () => {
    const message = services[service].read(event, json(name))
    assert.ok('push' in message, JSON.stringify(message))
    assert.deepEqual(message.push.branches, [{ name: 'main', commit }])
    assert.equal(message.push.by, by)
    assert.deepEqual(message.push.repository.urls, urls)
    assert.equal(message.push.repository.name.toLowerCase(), 'example/shop')
  })
}

test('what is no push of a branch is told as nothing to do, with its reason', () => {
  const nothing = (service: WebhookService, event: string, payload: unknown) => {
    const message = services[service].read(event, payload)
    assert.ok('nothing' in message, JSON.stringify(message))
    return message.nothing
  }
  assert.match(nothing('github', 'ping', json('github-ping')), /a ping/)
  assert.match(nothing('github', 'issues', {}), /issues is no push/)
  assert.match(nothing('github', 'push', json('github-delete-tag')), /refs\/tags\/v1 is no branch/)
  assert.match(
    nothing('github', 'push', { ...json('github-push'), after: '0'.repeat(40), deleted: true }),
    /main was deleted/,
  )
  assert.match(nothing('github', 'push', { ...json('github-push'), before: commit }), /nothing new/)
  assert.match(nothing('gitlab', 'Tag Push Hook', json('gitlab-tag')), /no push/)
  assert.match(nothing('gitlab', 'System Hook', json('gitlab-tag')), /no push/)
  assert.match(
    nothing('gitlab', 'Push Hook', { ...json('gitlab-push'), after: '0'.repeat(40), checkout_sha: null }),
    /main was deleted/,
  )
  const cloud = json('bitbucket-cloud-push') as { push: { changes: { new: unknown; old: unknown }[] } }
  const [change] = cloud.push.changes
  assert.match(nothing('bitbucket', 'repo:push', { ...cloud, push: { changes: [] } }), /empty/)
  assert.match(
    nothing('bitbucket', 'repo:push', { ...cloud, push: { changes: [{ ...change, new: null, closed: true }] } }),
    /main was deleted/,
  )
  assert.match(
    nothing('bitbucket', 'repo:push', {
      ...cloud,
      push: { changes: [{ ...change, new: { ...(change!.new as object), type: 'tag', name: 'v1' } }] },
    }),
    /v1 is no branch/,
  )
  const server = json('bitbucket-data-center-push') as { changes: object[] }
  assert.match(
    nothing('bitbucket', 'repo:refs_changed', {
      ...server,
      changes: [{ ...server.changes[0], type: 'DELETE', toHash: '0'.repeat(40) }],
    }),
    /main was deleted/,
  )
  assert.match(nothing('bitbucket', 'diagnostics:ping', { test: true }), /a ping/)
  assert.match(nothing('gitea', 'push', { ...json('gitea-push'), ref: 'refs/tags/v1' }), /no branch/)
})

test('each service proves itself its own way; a changed byte, another secret, or nothing at all is refused', () => {
  for (const service of Object.keys(services) as WebhookService[]) {
    const { newSecret, isSigned } = services[service]
    const secret = newSecret()
    assert.ok(secret.length >= 44, 'at least 256 bits')
    assert.notEqual(secret, newSecret())
    const body = Buffer.from('{"a":1}')
    const headers = (key: string) =>
      ({
        github: { 'x-hub-signature-256': `sha256=${hmacHex(key, body)}` },
        bitbucket: { 'x-hub-signature': `sha256=${hmacHex(key, body)}` },
        gitea: { 'x-gitea-signature': hmacHex(key, body) },
        gitlab: {
          'webhook-id': 'one',
          'webhook-timestamp': String(now / 1_000),
          'webhook-signature': `v1,wrong ${standardSignature(key, 'one', now / 1_000, body)}`,
        },
      })[service]
    assert.ok(isSigned(secret, headers(secret), body, now), service)
    assert.ok(!isSigned(secret, headers(secret), Buffer.from('{"a":2}'), now), service)
    assert.ok(!isSigned(secret, headers(newSecret()), body, now), service)
    assert.ok(!isSigned(secret, {}, body, now), service)
    assert.ok(
      !isSigned(
        secret,
        { 'x-hub-signature-256': '', 'x-hub-signature': 'sha256=', 'x-gitea-signature': '', 'x-gitlab-token': '' },
        body,
        now,
      ),
      service,
    )
  }
})

test("GitLab's secret token is taken; a signature counts more, and one that is old counts for nothing", () => {
  const { isSigned, newSecret } = services.gitlab
  const [secret, body] = [newSecret(), Buffer.from('{}')]
  assert.ok(isSigned(secret, { 'x-gitlab-token': secret }, body, now))
  assert.ok(
    !isSigned(
      secret,
      {
        'x-gitlab-token': secret,
        'webhook-id': 'one',
        'webhook-timestamp': String(now / 1_000),
        'webhook-signature': 'v1,wrong',
      },
      body,
      now,
    ),
  )
  const old = now / 1_000 - 301
  assert.ok(
    !isSigned(
      secret,
      {
        'webhook-id': 'one',
        'webhook-timestamp': String(old),
        'webhook-signature': standardSignature(secret, 'one', old, body),
      },
      body,
      now,
    ),
  )
})
