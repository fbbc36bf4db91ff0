import assert from 'node:assert/strict'
import { execFile, spawn } from 'node:child_process'
import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { after, before, describe, test } from 'node:test'
import { promisify } from 'node:util'
import { Client } from '../../src/client/client.ts'
import { ended, program, Team } from '../commands/team.ts'

const run = promisify(execFile)
const params = { application: 'shop', environment: 'production' }
const config = (changes: object = {}) =>
  JSON.stringify({
    application: 'shop',
    build: { leave_out: ['dploy.yml'] },
    environments: {
      production: {
        branch: 'main',
        protected: true,
        servers: [{ name: 'web1' }, { name: 'web2' }],
        strategy: { kind: 'all-at-once', bake: '100ms' },
        ...changes,
      },
    },
  })

describe('a protected environment', { timeout: 180_000 }, () => {
  let team: Team
  const tokens: Record<string, string> = {}

  before(async () => {
    team = await Team.up({ servers: 2 })
    writeFileSync(join(team.directory, 'dploy.yml'), config())
    writeFileSync(join(team.directory, '.gitignore'), '/.dploy\n/web*\n*.log\n')
    await git('init', '--quiet', '--initial-branch=main')
    await commit('one')
    await team.client.call('apply', { body: { text: config(), base: team.directory } })
    for (const [name, role] of [
      ['Bert', 'deployer'],
      ['Carl', 'deployer'],
      ['Vera', 'viewer'],
    ] as const) {
      const { token: invitation } = await team.client.call('addPerson', {
        body: { email: `${name}@example.org`, name, grants: [{ role, place: params }] },
      })
      const post = (path: string, body: unknown, cookie = '') =>
        fetch(`${team.url}${path}`, {
          method: 'POST',
          headers: { 'content-type': 'application/json', cookie, origin: team.url },
          body: JSON.stringify(body),
        })
      const accepted = await post('/api/v1/invitation', { token: invitation, password: 'correct horse battery' })
      const made = await post(
        '/api/v1/tokens',
        { note: 'laptop', right: role === 'viewer' ? 'read' : 'deploy', places: [params] },
        accepted.headers.getSetCookie()[0]!.split(';')[0],
      )
      tokens[name] = ((await made.json()) as { token: string }).token
    }
  })
  after(() => team?.[Symbol.asyncDispose]())

  test('a deployment waits for another person, also through a restart, and deploys what was asked for', async () => {
    const asked = (await git('rev-parse', 'HEAD')).trim()
    const deploying = start('Bert', 'deploy', 'production')
    const number = await deploying.waits
    const own = await dploy('Bert', 'approve', String(number))
    assert.equal(own.code, 1)
    assert.match(own.stderr, /Bert.* asked for deployment 1; another person has to approve it/)
    assert.match((await dploy('Vera', 'approve', String(number))).stderr, /forbidden/)
    const before = await team.client.call('deployment', { params: { number } })
    assert.deepEqual(
      [before.state, before.approval?.decision, before.revision?.commit, before.release],
      ['waiting_for_approval', 'waiting', asked, null],
    )
    await commit('two')
    await team.killControl()
    await team.startControl()
    await team.untilConnected(30_000)
    const approved = await dploy('Carl', 'approve', String(number), '--note', 'looks good')
    assert.equal(approved.code, 0, approved.stderr)
    assert.match(
      approved.stdout.toString(),
      new RegExp(`Approved: deployment 1 of shop to production by Bert.*${asked.slice(0, 7)}`),
    )
    const { result, events } = await deploying.outcome
    assert.equal(result.state, 'succeeded', JSON.stringify(result.failure))
    assert.deepEqual(
      events
        .filter(({ data }) => data.kind === 'state')
        .map(({ data }) => data.state)
        .slice(0, 3),
      ['waiting_for_approval', 'queued', 'resolving'],
    )
    const after = await team.client.call('deployment', { params: { number } })
    assert.deepEqual(
      [after.revision?.commit, after.revision?.ref, after.approval?.decision, after.approval?.note],
      [asked, before.revision?.ref, 'approve', 'looks good'],
    )
    assert.match(after.approval!.by!, /^Carl/)
    assert.equal(served('web1'), 'one\n')
    assert.match((await dploy('Carl', 'approve', String(number))).stderr, /does not wait for approval: it is succeeded/)
  })

  test('refused, nothing is changed, and who asked is told why; who asked may withdraw it', async () => {
    const refused = start('Bert', 'deploy', 'production')
    assert.equal(
      (await dploy('Carl', 'approve', String(await refused.waits), '--refuse', '--note', 'not on a Friday')).code,
      0,
    )
    const { result, code } = await refused.outcome
    assert.deepEqual([code, result.failure?.code], [1, 'approval.refused'])
    assert.match(result.failure!.message, /Carl.*not on a Friday/)
    const withdrawn = start('Bert', 'deploy', 'production')
    assert.equal((await dploy('Bert', 'approve', String(await withdrawn.waits), '--refuse')).code, 0)
    assert.equal((await withdrawn.outcome).result.state, 'failed')
    assert.equal(served('web1'), 'one\n')
  })

  test('Ctrl-C leaves it waiting; of two who approve at once one does; cancelling ends it', async () => {
    const left = start('Bert', 'deploy', 'production')
    const number = await left.waits
    left.process.kill('SIGINT')
    assert.equal((await ended(left.process)).code, 130)
    assert.equal((await team.client.call('deployment', { params: { number } })).state, 'waiting_for_approval')
    const client = new Client({ url: team.url, token: tokens.Carl, fetch })
    const both = await Promise.allSettled(
      [1, 2].map(() => client.call('decide', { params: { number }, body: { decision: 'approve' } })),
    )
    assert.deepEqual(both.map(({ status }) => status).sort(), ['fulfilled', 'rejected'])
    for await (const _ of client.stream('deploymentEvents', { params: { number }, query: {} })) continue
    assert.equal((await client.call('deployment', { params: { number } })).state, 'succeeded')
    assert.equal(served('web2'), 'two\n')
    const other = await client.call('deploy', { params, body: {} })
    assert.equal((await client.call('cancel', { params: { number: other.number } })).state, 'cancelled')
  })

  test('a rollback does not wait', async () => {
    const { result } = await start('Bert', 'rollback', 'production').outcome
    assert.equal(result.state, 'succeeded', JSON.stringify(result.failure))
    assert.equal(served('web1'), 'one\n')
  })

  test('a deployer cannot take protection away, nor go around it', async () => {
    const client = new Client({ url: team.url, token: tokens.Bert, fetch })
    await assert.rejects(client.call('apply', { body: { text: config({ protected: false }) } }), { code: 'forbidden' })
    const { token } = await team.client.call('createToken', { body: { note: 'everywhere', right: 'deploy' } })
    const aside = JSON.stringify({
      application: 'aside',
      environments: { production: { servers: [{ name: 'web1' }] } },
    })
    await assert.rejects(new Client({ url: team.url, token, fetch }).call('apply', { body: { text: aside } }), {
      code: 'forbidden',
    })
    // A token of nobody is no second person.
    const waiting = await client.call('deploy', { params, body: {} })
    await assert.rejects(
      new Client({ url: team.url, token, fetch }).call('decide', {
        params: { number: waiting.number },
        body: { decision: 'approve' },
      }),
      { code: 'forbidden' },
    )
  })

  test('the audit log says who approved what', async () => {
    const { entries } = await team.client.call('audit', { query: { action: 'decide', limit: 100 } })
    const first = entries.findLast(({ outcome, who }) => outcome === 'done' && who.startsWith('Carl'))!
    assert.deepEqual(
      [first.subject, first.application, (first.after as { decision: string }).decision],
      ['deployment 1', 'shop', 'approve'],
    )
    assert.equal(entries.filter(({ problem }) => problem === 'approval.own').length, 1)
    const { stdout } = await team.dploy('audit', '--action', 'decide')
    assert.match(stdout.toString(), /Bert.*decide.*refused: approval/)
    const csv = (await team.dploy('audit', '--export', 'csv')).stdout.toString()
    assert.match(csv, /^seq,at,who,kind,address,action,.*\r\n/)
  })

  function served(server: string): string {
    return readFileSync(join(team.root(server), 'srv/shop/current/version.txt'), 'utf8')
  }

  async function git(...args: string[]): Promise<string> {
    return (
      await run('git', ['-C', team.directory, '-c', 'user.name=Anna', '-c', 'user.email=anna@example.org', ...args], {
        env: { ...process.env, GIT_CONFIG_GLOBAL: '/dev/null' },
      })
    ).stdout
  }

  async function commit(version: string): Promise<void> {
    writeFileSync(join(team.directory, 'version.txt'), `${version}\n`)
    await git('add', '--all')
    await git('commit', '--quiet', '--message', version)
  }

  function environmentOf(person: string): NodeJS.ProcessEnv {
    return { ...team.environment, DPLOY_URL: team.url, DPLOY_TOKEN: tokens[person]! }
  }

  function dploy(person: string, ...args: string[]) {
    return ended(
      spawn(process.execPath, [program, ...args], {
        cwd: team.directory,
        stdio: ['ignore', 'pipe', 'pipe'],
        env: environmentOf(person),
      }),
    )
  }

  /** `dploy … --json` of a person; `waits`: the number of its deployment, once it waits. */
  function start(person: string, ...args: string[]) {
    type Line = {
      type: string
      state?: string
      failure?: { code: string; message: string }
      data?: { kind: string; state?: string }
    }
    const child = spawn(process.execPath, [program, ...args, '--json'], {
      cwd: team.directory,
      stdio: ['ignore', 'pipe', 'pipe'],
      env: environmentOf(person),
    })
    const events: { data: { kind: string; state?: string } }[] = []
    let result: Line | null = null
    const waits = Promise.withResolvers<number>()
    let said = ''
    child.stderr.on('data', (chunk: Buffer) => (said += chunk.toString()))
    createInterface({ input: child.stdout }).on('line', (line) => {
      const value = JSON.parse(line) as Line
      if (value.type === 'result') result = value
      if (value.type !== 'event' || !value.data) return
      events.push({ data: value.data })
      if (value.data.state === 'waiting_for_approval')
        void team.client
          .call('deployments', { query: { ...params, limit: 1 } })
          .then(({ deployments }) => waits.resolve(deployments[0]!.number), waits.reject)
    })
    const outcome = new Promise<{ code: number | null; result: Line; events: typeof events }>((resolve, reject) => {
      child.once('close', (code) =>
        result
          ? resolve({ code, result, events })
          : reject(new Error(`dploy ${args.join(' ')} ended with ${code} and no result: ${said}`)),
      )
    })
    outcome.catch((error: unknown) => waits.reject(error))
    waits.promise.catch(() => {})
    return { process: child, waits: waits.promise, outcome }
  }
})
