import assert from 'node:assert/strict'
import { execFileSync, spawn, type ChildProcess } from 'node:child_process'
import { createHash, generateKeyPairSync } from 'node:crypto'
import { once } from 'node:events'
import { mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { after, before, describe, test } from 'node:test'
import { setTimeout as delay } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { routes, type RouteName } from '../../src/protocol/api/contract.ts'
import type { Route } from '../../src/protocol/api/route.ts'
import { HttpReceiver } from '../notify/http-receiver.ts'
import { githubPush, sendAsGithub } from '../webhooks/sender.ts'
import { Plane, type Answer } from './plane.ts'

const agentMain = fileURLToPath(new URL('../../src/agent/main.ts', import.meta.url))
const params = { application: 'shop', environment: 'production' }
const closed = { application: 'shop', environment: 'closed' }
const password = 'correct horse battery'
const secrets = ['the value of a secret', password, 'another good password', 'a secret of a webhook']

/**
 * What the audit log tells of a call beside who, from where and when. `both`: what was and what is. `new`: there was nothing before.
 * `gone`: there is nothing after. `asked`: it leaves nothing behind on the control plane but its own record, and what was asked is told.
 * `nothing`: a session begins or ends, which the name of the action says.
 */
type Tells = 'both' | 'new' | 'gone' | 'asked' | 'nothing'

describe('the audit log', { timeout: 120_000 }, () => {
  let plane: Plane
  let receiver: HttpReceiver
  let agent: ChildProcess | null = null
  const config = (command: string) =>
    JSON.stringify({
      application: 'shop',
      source: { repository: join(plane.directory, 'repository') },
      service: { command, port: 3000 },
      notify: [{ kind: 'webhook', url: receiver.url, secret: 'HOOK' }],
      environments: {
        production: { branch: 'main', servers: ['web1', 'absent'] },
        closed: { branch: 'main', protected: true, servers: ['web2'] },
      },
    })

  before(async () => {
    receiver = await HttpReceiver.up()
    plane = await Plane.up()
    const repository = join(plane.directory, 'repository')
    mkdirSync(repository)
    writeFileSync(join(repository, 'server.js'), '')
    const git = (...args: string[]) =>
      execFileSync('git', ['-C', repository, '-c', 'user.name=Anna', '-c', 'user.email=anna@localhost', ...args], {
        env: { ...process.env, GIT_CONFIG_GLOBAL: '/dev/null' },
      })
    git('init', '--quiet', '--initial-branch=main')
    git('add', '--all')
    git('commit', '--quiet', '--message', 'one')
    const { token } = await plane.client.call('createJoinToken', { body: {} })
    const args = [
      agentMain,
      'run',
      '--name',
      'web1',
      '--state',
      join(plane.directory, 'web1/state'),
      '--root',
      join(plane.directory, 'web1'),
      '--join',
      plane.url,
      '--tethered',
    ]
    agent = spawn(process.execPath, args, {
      stdio: ['pipe', 'ignore', 'ignore'],
      env: { ...process.env, DPLOY_JOIN_TOKEN: token },
    })
    for (
      const deadline = Date.now() + 30_000;
      !(await plane.client.call('servers')).servers.some(({ connected }) => connected);
      await delay(50)
    )
      assert.ok(Date.now() < deadline, 'the agent does not connect')
  })
  after(async () => {
    await ended(agent)
    await plane?.[Symbol.asyncDispose]()
    await receiver?.[Symbol.asyncDispose]()
  })

  test('has an entry for every call of the contract that changes something, with what was before and after', async (t) => {
    const { client } = plane
    let cookie = ''
    let person = ''
    let [token, webhook, joining, run, bert] = ['', '', '', '', '']
    let number = 0
    const ask = async (method: string, path: string, body?: unknown, as = cookie): Promise<Answer> => {
      const answer = await plane.ask(method, path, { body, ...(as === '' ? {} : { cookie: as }) })
      assert.ok(answer.status < 300, `${method} ${path}: ${answer.text}`)
      return answer
    }
    const drained = async (events: AsyncIterable<unknown>) => {
      for await (const _ of events) continue
    }
    const calls: [action: RouteName, tells: Tells, call: () => Promise<unknown>][] = [
      [
        'setUp',
        'new',
        async () =>
          ({ cookie } = (await ask('POST', '/api/v1/setup', {
            token: plane.said.setup!.split('#')[1],
            email: 'anna@example.org',
            name: 'Anna',
            password,
          })) as { cookie: string }),
      ],
      ['apply', 'both', () => client.call('apply', { body: { text: config('node server.js') } })],
      ['apply', 'both', () => client.call('apply', { body: { text: config('node other.js') } })],
      [
        'addPerson',
        'new',
        async () =>
          ({
            person: { id: person },
            token: bert,
          } = (
            await ask('POST', '/api/v1/people', {
              email: 'bert@example.org',
              name: 'Bert',
              grants: [{ role: 'viewer', place: null }],
            })
          ).json),
      ],
      [
        'setGrants',
        'both',
        () => ask('PUT', `/api/v1/people/${person}/grants`, { grants: [{ role: 'administrator', place: null }] }),
      ],
      [
        'invitePerson',
        'both',
        async () => (bert = (await ask('POST', `/api/v1/people/${person}/invitation`)).json.token),
      ],
      [
        'acceptInvitation',
        'nothing',
        async () => (bert = (await ask('POST', '/api/v1/invitation', { token: bert, password }, '')).cookie!),
      ],
      [
        'changePassword',
        'nothing',
        () => ask('PUT', '/api/v1/session/password', { old: password, password: secrets[2] }, bert),
      ],
      [
        'signIn',
        'asked',
        async () =>
          (bert = (await ask('POST', '/api/v1/session', { email: 'bert@example.org', password: secrets[2] }, ''))
            .cookie!),
      ],
      ['signOut', 'nothing', () => ask('DELETE', '/api/v1/session', undefined, bert)],
      [
        'signOutEverywhere',
        'nothing',
        async () =>
          ask(
            'DELETE',
            '/api/v1/sessions',
            undefined,
            (await plane.ask('POST', '/api/v1/session', { body: { email: 'bert@example.org', password: secrets[2] } }))
              .cookie,
          ),
      ],
      [
        'createToken',
        'new',
        async () => (token = (await ask('POST', '/api/v1/tokens', { note: 'ci', right: 'deploy' })).json.entry.id),
      ],
      ['revokeToken', 'gone', () => ask('DELETE', `/api/v1/tokens/${token}`)],
      [
        'addWebhook',
        'new',
        async () =>
          (webhook = (
            await client.call('addWebhook', { body: { service: 'github', secret: secrets[3]!.replaceAll(' ', '-') } })
          ).webhook.id),
      ],
      [
        'redeliver',
        'both',
        async () => {
          await sendAsGithub(
            `${plane.url}/api/v1/webhooks/${webhook}/deliveries`,
            secrets[3]!.replaceAll(' ', '-'),
            githubPush('https://github.com/example/elsewhere.git', 'other', '4f1c2b7d9e03a586c1d2e4f5061728394a5b6c7d'),
          )
          const [came] = (await client.call('deliveries', { params: { webhook } })).deliveries
          await client.call('redeliver', { params: { webhook, delivery: came!.id } })
        },
      ],
      ['removeWebhook', 'gone', () => client.call('removeWebhook', { params: { webhook: webhook } })],
      [
        'setSecret',
        'new',
        () => client.call('setSecret', { params: { ...params, name: 'HOOK' }, body: { value: secrets[0]! } }),
      ],
      [
        'setSecret',
        'both',
        () => client.call('setSecret', { params: { ...params, name: 'HOOK' }, body: { value: secrets[0]! } }),
      ],
      [
        'testNotification',
        'both',
        async () =>
          client.call('testNotification', {
            params: { ...params, key: (await client.call('notifications', { params })).targets[0]!.key },
          }),
      ],
      ['removeSecret', 'gone', () => client.call('removeSecret', { params: { ...params, name: 'HOOK' } })],
      [
        'createJoinToken',
        'new',
        async () =>
          (joining = (
            await client.call('createJoinToken', {
              body: { note: 'one more', environments: [params], tags: { role: 'web' } },
            })
          ).token),
      ],
      [
        'join',
        'new',
        () =>
          ask(
            'POST',
            '/agents/join',
            {
              token: joining,
              name: 'extra',
              publicKey: generateKeyPairSync('ed25519').publicKey.export({ type: 'spki', format: 'pem' }),
            },
            '',
          ),
      ],
      ['drainServer', 'both', () => client.call('drainServer', { params: { server: 'extra' }, body: {} })],
      ['readyServer', 'both', () => client.call('readyServer', { params: { server: 'extra' }, body: {} })],
      [
        'renameServer',
        'both',
        () => client.call('renameServer', { params: { server: 'extra' }, body: { name: 'other' } }),
      ],
      [
        'addToEnvironment',
        'new',
        () =>
          client.call('addToEnvironment', { params: { server: 'other' }, body: { ...closed, tags: { role: 'web' } } }),
      ],
      ['unlockServer', 'both', () => client.call('unlockServer', { params: { server: 'other' } })],
      [
        'rotateServerKey',
        'both',
        () => client.call('rotateServerKey', { params: { server: 'other' }, body: { forget: true } }),
      ],
      ['removeServer', 'gone', () => client.call('removeServer', { params: { server: 'other' } })],
      [
        'exec',
        'asked',
        () =>
          drained(client.stream('exec', { params, body: { command: { line: 'true' }, on: { servers: ['web1'] } } })),
      ],
      [
        'interruptRun',
        'nothing',
        async () => {
          for await (const event of client.stream('exec', {
            params,
            body: { command: { line: 'echo begun; sleep 600' }, on: { servers: ['web1'] } },
          })) {
            if (event.kind === 'started') run = event.run
            if (event.kind === 'output') await client.call('interruptRun', { params: { run } })
          }
        },
      ],
      [
        'shell',
        'asked',
        async () => {
          for await (const event of client.stream('shell', {
            params: { ...params, server: 'web1' },
            body: { columns: 80, rows: 24 },
          }))
            if (event.kind === 'output') break
        },
      ],
      [
        'copyTo',
        'asked',
        () =>
          client.copyTo(
            {
              params,
              query: {
                server: ['web1'],
                path: '/tmp/x',
                name: 'x',
                size: 1,
                mode: 0o644,
                digest: createHash('sha256').update('x').digest('hex'),
              },
            },
            (async function* () {
              yield Buffer.from('x')
            })(),
          ),
      ],
      [
        'copyFrom',
        'asked',
        () => drained(client.stream('copyFrom', { params, query: { server: ['web1'], path: '/tmp/x' } })),
      ],
      // One of its agents is awaited for seconds, in which it can be paused, let go on, and unlocked.
      [
        'deploy',
        'both',
        async () => {
          ;({ number } = await client.call('deploy', { params, body: {} }))
          for await (const { data } of client.stream('deploymentEvents', { params: { number: number } }))
            if (data.kind === 'state' && data.state === 'staging') break
        },
      ],
      ['pause', 'both', () => client.call('pause', { params: { number: number }, body: {} })],
      ['promote', 'both', () => client.call('promote', { params: { number: number }, body: {} })],
      ['cancel', 'both', () => client.call('cancel', { params: { number: number } })],
      [
        'rollback',
        'both',
        async () => {
          await drained(client.stream('deploymentEvents', { params: { number: number } }))
          ;({ number } = await client.call('rollback', { params, body: { release: 1 } }))
        },
      ],
      ['unlock', 'gone', () => client.call('unlock', { params })],
      ['converge', 'asked', () => client.call('converge', { params, body: {} })],
      [
        'decide',
        'both',
        async () => {
          const asked = await client.call('deploy', { params: closed, body: {} })
          await ask('POST', `/api/v1/deployments/${asked.number}/approval`, {
            decision: 'refuse',
            note: 'not on a Friday',
          })
        },
      ],
      ['removePerson', 'gone', () => client.call('removePerson', { params: { person } })],
    ]
    const audited = Object.entries(routes as Record<string, Route>)
      .filter(([, route]) => (route.audited ?? route.method !== 'GET') !== false)
      .map(([name]) => name)
    assert.deepEqual(
      [...new Set(calls.map(([action]) => action))].sort(),
      audited.sort(),
      'whoever adds a call that changes something adds it here',
    )

    const wrong: string[] = []
    const newest = async (action: string) => (await client.call('audit', { query: { action, limit: 1 } })).entries[0]
    for (const [action, tells, call] of calls) {
      const [before, began] = [(await newest(action))?.seq ?? 0, Date.now()]
      await call()
      let entry = await newest(action)
      // Of a stream that its reader left, the end is noticed a moment later.
      for (const deadline = Date.now() + 10_000; entry?.outcome === 'begun' && Date.now() < deadline; await delay(20))
        entry = await newest(action)
      assert.ok(entry && entry.seq > before, `${action} left no entry`)
      const told = JSON.stringify(entry)
      assert.deepEqual([entry.outcome, entry.problem], ['done', null], told)
      assert.ok(entry.at >= began - 1_000 && entry.who.length > 2, told)
      assert.equal(entry.address, entry.kind === 'local' ? '' : '127.0.0.1', told)
      const shape = `${entry.before === null ? 'nothing' : 'something'} before, ${entry.after === null ? 'nothing' : 'something'} after`
      const wanted = {
        both: 'something before, something after',
        new: 'nothing before, something after',
        gone: 'something before, nothing after',
        asked: 'nothing before, something after',
        nothing: 'nothing before, nothing after',
      }[tells]
      if (shape !== wanted) wrong.push(`${action} tells ${shape}: ${told.slice(0, 400)}`)
      const route: Route = (routes as Record<string, Route>)[action]!
      if (route.path.includes('/:application/:environment')) assert.equal(entry.application, 'shop', told)
      if (/\/:(?!application|environment)/.test(route.path) || /^(?:exec|shell|deploy|rollback)$/.test(action))
        if (entry.subject === null) wrong.push(`${action} does not tell of what: ${told}`)
    }
    assert.deepEqual(wrong, [])
    let all = ''
    for await (const text of client.text('exportAudit', { query: {} })) all += text
    for (const secret of [...secrets, secrets[3]!.replaceAll(' ', '-'), joining, plane.said.setup!.split('#')[1]!])
      assert.ok(!all.includes(secret), `${secret.slice(0, 12)}… stands in the audit log`)
    t.diagnostic(`${calls.length} calls of ${audited.length} routes`)
  })
})

async function ended(child: ChildProcess | null): Promise<void> {
  if (child === null || child.exitCode !== null || child.signalCode !== null) return
  const exit = once(child, 'exit')
  child.stdin!.end()
  await exit
}
