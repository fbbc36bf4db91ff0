import assert from 'node:assert/strict'
import { writeFileSync } from 'node:fs'
import { spawn } from 'node:child_process'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, describe, test } from 'node:test'
import { setTimeout as delay } from 'node:timers/promises'
import { ended, program, Team } from '../commands/team.ts'

describe('people and tokens from the command line', { timeout: 180_000 }, () => {
  let team: Team

  before(async () => {
    team = await Team.up({ servers: 1 })
  })
  after(() => team?.[Symbol.asyncDispose]())

  test('a person is added, changed and removed, and mistakes say what to do', async () => {
    const added = await team.dploy('person', 'add', 'Anna@example.org', '--role', 'deployer', '--in', 'production')
    assert.equal(added.code, 0, added.stderr)
    assert.match(
      added.stdout.toString(),
      new RegExp(`Added Anna: deployer in shop/production[\\s\\S]*${team.url}/invitation#[\\w-]{32}`),
    )
    assert.match(
      (await team.dploy('person', 'list')).stdout.toString(),
      /Anna +anna@example\.org +deployer in shop\/production +invited/,
    )
    assert.match(
      (await team.dploy('person', 'role', 'anna@example.org', 'viewer', '--add')).stdout.toString(),
      /Anna: deployer in shop\/production, viewer/,
    )
    assert.match(
      (await team.dploy('person', 'role', 'anna@example.org', 'king')).stderr,
      /"king" is no role[\s\S]*viewer, deployer, administrator/,
    )
    assert.match(
      (await team.dploy('person', 'role', 'nobody@example.org', 'viewer')).stderr,
      /There is nobody with the address nobody@example\.org; known: anna@example\.org/,
    )
    assert.match((await team.dploy('person', 'add', 'not an address')).stderr, /request\.invalid/)
    assert.match(
      (await team.dploy('person', 'add', 'bert@example.org', '--in', 'nowhere')).stderr,
      /There is no environment nowhere; known: shop\/production/,
    )
    assert.match((await team.dploy('person', 'invite', 'anna@example.org')).stdout.toString(), /\/invitation#/)
    assert.match((await team.dploy('person', 'remove', 'anna@example.org')).stdout.toString(), /Removed Anna/)
  })

  test('a token does what its right says, where it says, until it is revoked', async () => {
    const made = await team.dploy('token', 'create', 'ci', '--right', 'read', '--in', 'production', '--days', '30')
    assert.equal(made.code, 0, made.stderr)
    const token = made.stdout.toString().trim()
    const remote = (...args: string[]) =>
      ended(
        spawn(process.execPath, [program, ...args], {
          cwd: team.directory,
          stdio: ['ignore', 'pipe', 'pipe'],
          env: { ...team.environment, DPLOY_URL: team.url, DPLOY_TOKEN: token },
        }),
      )
    const status = await remote('status')
    assert.equal(status.stderr, '')
    assert.match(status.stdout.toString(), /web1/)
    const refused = await remote('deploy', 'production')
    assert.equal(refused.code, 1)
    assert.match(refused.stderr, /token ci may not deploy in this environment[\s\S]*forbidden/)
    const [, id] = /^(tok_\w+) +ci +read +shop\/production/m.exec(
      (await team.dploy('token', 'list')).stdout.toString(),
    )!
    assert.equal((await team.dploy('token', 'revoke', id!)).code, 0)
    assert.match((await remote('status')).stderr, /unauthorized/)
  })

  test('the socket can be named from anywhere', async () => {
    const elsewhere = (path: string) =>
      ended(
        spawn(process.execPath, [program, '--server', `unix:${path}`, 'person', 'list'], {
          cwd: tmpdir(),
          stdio: ['ignore', 'pipe', 'pipe'],
          env: team.environment,
        }),
      )
    assert.match((await elsewhere(join(team.directory, '.dploy/control.sock'))).stdout.toString(), /Nobody yet/)
    assert.match(
      (await elsewhere('/nowhere/control.sock')).stderr,
      /No control plane answers at \/nowhere\/control\.sock/,
    )
  })

  test('what was changed is in the audit log; looking is not', async () => {
    const list = async () => (await team.client.call('audit', { query: { limit: 500 } })).entries
    const before = (await list()).length
    await team.dploy('status')
    assert.equal((await list()).length, before)
    writeFileSync(
      join(team.directory, 'dploy.yml'),
      JSON.stringify({
        application: 'shop',
        service: { command: 'node other.mjs', port: 3000 },
        environments: { production: { branch: 'main', servers: ['web1'] } },
      }),
    )
    await team.dploy('status')
    const [applied] = await list()
    assert.deepEqual(
      [
        applied!.action,
        applied!.kind,
        (applied!.after as { production: { service: { command: string } } }).production.service.command,
      ],
      ['apply', 'local', 'node other.mjs'],
    )
    await team.dploy('exec', 'production', '--', 'echo', 'hello')
    const [exec] = await list()
    const { runs } = await team.client.call('runs', {
      params: { application: 'shop', environment: 'production' },
      query: {},
    })
    assert.deepEqual([exec!.action, exec!.subject, exec!.outcome], ['exec', runs[0]!.id, 'done'])
    assert.match(JSON.stringify(exec!.after), /"hello"/)
    assert.match(exec!.who, /@/)
    assert.match(
      (await team.dploy('audit', '--who', '@', '--action', 'exec', '--since', '1h')).stdout.toString(),
      /exec +shop\/production/,
    )
    const params = { application: 'shop', environment: 'production', name: 'DATABASE_URL' }
    for (const value of ['the first secret value', 'the second secret value'])
      await team.client.call('setSecret', { params, body: { value, setBy: 'anna@laptop' } })
    const [set] = await list()
    assert.deepEqual(
      [set!.who, set!.action, set!.subject, (set!.before as { setBy: string }).setBy],
      ['anna@laptop', 'setSecret', 'DATABASE_URL', 'anna@laptop'],
    )
    assert.ok(!JSON.stringify(await list()).includes('secret value'))
    const paged = []
    for (let cursor: number | undefined; ;) {
      const page = await team.client.call('audit', { query: { limit: 3, ...(cursor === undefined ? {} : { cursor }) } })
      paged.push(...page.entries)
      if (page.next === null) break
      cursor = page.next
    }
    assert.deepEqual(paged, await list())
  })

  test('who is removed loses the terminal and the command that they have open', async () => {
    const { person, token: invitation } = await team.client.call('addPerson', {
      body: {
        email: 'eve@example.org',
        name: 'Eve',
        grants: [{ role: 'administrator', place: { application: 'shop', environment: 'production' } }],
      },
    })
    const accepted = await fetch(`${team.url}/api/v1/invitation`, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify({ token: invitation, password: 'correct horse battery' }),
    })
    const cookie = accepted.headers.getSetCookie()[0]!.split(';')[0]!
    const body = JSON.stringify({ command: { line: 'echo begun; sleep 1000' } })
    const running = await fetch(`${team.url}/api/v1/environments/shop/production/exec`, {
      method: 'POST',
      headers: { 'content-type': 'application/json', cookie, origin: team.url },
      body,
    })
    const reader = running.body!.getReader()
    for (let said = ''; !said.includes('begun');) said += Buffer.from((await reader.read()).value!).toString()
    await team.client.call('removePerson', { params: { person: person.id } })
    const began = Date.now()
    for (;;) {
      const next = await reader.read().catch(() => ({ done: true }))
      if (next.done) break
      assert.ok(Date.now() - began < 20_000, 'the command goes on')
    }
    for (const deadline = Date.now() + 20_000; ; await delay(100)) {
      const { runs } = await team.client.call('runs', {
        params: { application: 'shop', environment: 'production' },
        query: {},
      })
      if (runs[0]!.finishedAt !== null) break
      assert.ok(Date.now() < deadline, 'it runs on the server')
    }
  })
})
