import assert from 'node:assert/strict'
import type { Grant, Right } from '../../src/protocol/api/access.ts'
import type { Plane } from './plane.ts'

/** Somebody who asks, and what they are meant to be allowed, by application: `*` is everywhere. */
export interface Somebody {
  name: string
  holds: Readonly<Record<string, Right>>
  /** What goes along with a request, which may end their session. */
  credentials(ends: boolean): Promise<{ cookie?: string; token?: string }>
  /** Whether nobody is known by these. */
  unknown?: 'anonymous' | 'expired'
}

const password = 'correct horse battery'
export const shop = { application: 'shop', environment: 'production' }
export const blog = { application: 'blog', environment: 'production' }

/** Ids of what there is, by application or by the name that parameters of paths have. */
export interface Inhabited {
  everybody: Somebody[]
  runs: Record<string, string>
  numbers: Record<string, number>
  /** Keys of notifications. */
  keys: Record<string, string>
  /** Of somebody else than all of these. */
  ids: { token: string; person: string; webhook: string }
}

/** Two applications, each with a server, a deployment, a run, a secret and a notification, and all kinds of callers. */
export async function inhabit(plane: Plane): Promise<Inhabited> {
  const numbers: Record<string, number> = {}
  const runs: Record<string, string> = {}
  const keys: Record<string, string> = {}
  for (const { application, environment } of [shop, blog]) {
    const text = JSON.stringify({
      application,
      source: { repository: '/nowhere' },
      service: { command: 'node server.js', port: 3000 },
      notify: [{ kind: 'webhook', url: 'http://127.0.0.1:1/', secret: 'HOOK' }],
      environments: { [environment]: { branch: 'main', servers: [{ name: `${application}1` }] } },
    })
    await plane.client.call('apply', { body: { text } })
    const params = { application, environment }
    for (const name of ['KEY', 'HOOK'])
      await plane.client.call('setSecret', { params: { ...params, name }, body: { value: 'a value' } })
    keys[application] = (await plane.client.call('notifications', { params })).targets[0]!.key
    const deployment = await plane.client.call('deploy', { params, body: {} })
    for await (const _ of plane.client.stream('deploymentEvents', { params: { number: deployment.number }, query: {} }))
      continue
    numbers[application] = deployment.number
    for await (const event of plane.client.stream('exec', { params, body: { command: { line: 'true' } } }))
      if (event.kind === 'started') runs[application] = event.run
  }
  const person = async (
    name: string,
    holds: Somebody['holds'],
    grants: Grant[],
  ): Promise<Somebody & { token(right: Right, places: null | (typeof shop)[], days?: number): Promise<string> }> => {
    const email = `${name.replaceAll(' ', '.')}@example.org`
    const { token } = await plane.client.call('addPerson', { body: { email, name, grants } })
    const accepted = await plane.ask('POST', '/api/v1/invitation', { body: { token, password } })
    assert.equal(accepted.status, 200, accepted.text)
    const signIn = async () => (await plane.ask('POST', '/api/v1/session', { body: { email, password } })).cookie!
    let kept: string | null = accepted.cookie!
    return {
      name,
      holds,
      async credentials(ends) {
        const cookie = (kept ??= await signIn())
        if (ends) kept = null
        return { cookie }
      },
      async token(right, places, days = 1) {
        const made = await plane.ask('POST', '/api/v1/tokens', {
          cookie: kept!,
          body: { note: `${name} ${right}`, right, places, days },
        })
        assert.equal(made.status, 200, made.text)
        return made.json.token as string
      },
    }
  }
  const administrator = await person('administrator', { '*': 'administer' }, [{ role: 'administrator', place: null }])
  const here = await person('administrator of shop', { shop: 'administer' }, [{ role: 'administrator', place: shop }])
  const everybody: Somebody[] = [
    { name: 'anonymous', holds: {}, unknown: 'anonymous', credentials: async () => ({}) },
    await person('without a role', {}, []),
    await person('viewer', { '*': 'read' }, [{ role: 'viewer', place: null }]),
    await person('viewer of shop', { shop: 'read' }, [{ role: 'viewer', place: shop }]),
    await person('deployer of shop', { shop: 'deploy' }, [{ role: 'deployer', place: shop }]),
    await person('deployer of blog', { blog: 'deploy' }, [{ role: 'deployer', place: blog }]),
    await person('viewer and deployer', { '*': 'read', shop: 'deploy' }, [
      { role: 'viewer', place: null },
      { role: 'deployer', place: shop },
    ]),
    here,
    administrator,
  ]
  for (const right of ['read', 'deploy', 'administer'] as const) {
    for (const [holder, places, at] of [
      [administrator, null, '*'],
      [administrator, [shop], 'shop'],
      [here, [shop], 'shop'],
    ] as const) {
      const token = await holder.token(right, places && [...places])
      everybody.push({
        name: `token of ${holder.name}: ${right} ${at}`,
        holds: { [at]: right },
        credentials: async () => ({ token }),
      })
    }
  }
  const expired = await administrator.token('administer', null, 0.000_001)
  for (
    const deadline = Date.now() + 10_000;
    (await plane.ask('GET', '/api/v1/session', { token: expired })).status !== 401;
  )
    assert.ok(Date.now() < deadline, 'the token does not expire')
  everybody.push({
    name: 'expired token',
    holds: {},
    unknown: 'expired',
    credentials: async () => ({ token: expired }),
  })
  // Somebody who never asks.
  const other = await person('another administrator', { '*': 'administer' }, [{ role: 'administrator', place: null }])
  await other.token('administer', null)
  const ids = {
    person: (await plane.client.call('people')).people.find(({ name }) => name === other.name)!.id,
    token: (await plane.client.call('tokens')).tokens.find(({ owner }) => owner?.name === other.name)!.id,
    webhook: (await plane.client.call('addWebhook', { body: { service: 'github' } })).webhook.id,
  }
  return { everybody, runs, numbers, keys, ids }
}
