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

/** Two applications, each with a server, a deployment and a run, and all kinds of callers. */
export async function inhabit(plane: Plane): Promise<{ everybody: Somebody[]; runs: Record<string, string>; numbers: Record<string, number> }> {
  const numbers: Record<string, number> = {}
  const runs: Record<string, string> = {}
  for (const { application, environment } of [shop, blog]) {
    const text = JSON.stringify({ application, source: { repository: '/nowhere' }, service: { command: 'node server.js', port: 3000 }, environments: { [environment]: { branch: 'main', servers: [{ name: `${application}1` }] } } })
    await plane.client.call('apply', { body: { text } })
    const params = { application, environment }
    const deployment = await plane.client.call('deploy', { params, body: {} })
    for await (const _ of plane.client.stream('deploymentEvents', { params: { number: deployment.number }, query: {} })) continue
    numbers[application] = deployment.number
    for await (const event of plane.client.stream('exec', { params, body: { command: { line: 'true' } } })) if (event.kind === 'started') runs[application] = event.run
  }
  const person = async (name: string, holds: Somebody['holds'], grants: Grant[]): Promise<Somebody & { token(right: Right, places: null | (typeof shop)[], days?: number): Promise<string> }> => {
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
        const made = await plane.ask('POST', '/api/v1/tokens', { cookie: kept!, body: { note: `${name} ${right}`, right, places, days } })
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
    await person('viewer and deployer', { '*': 'read', shop: 'deploy' }, [{ role: 'viewer', place: null }, { role: 'deployer', place: shop }]),
    here,
    administrator,
  ]
  for (const right of ['read', 'deploy', 'administer'] as const) {
    for (const [holder, places, at] of [[administrator, null, '*'], [administrator, [shop], 'shop'], [here, [shop], 'shop']] as const) {
      const token = await holder.token(right, places && [...places])
      everybody.push({ name: `token of ${holder.name}: ${right} ${at}`, holds: { [at]: right }, credentials: async () => ({ token }) })
    }
  }
  const expired = await administrator.token('administer', null, 0.000_001)
  for (const deadline = Date.now() + 10_000; (await plane.ask('GET', '/api/v1/session', { token: expired })).status !== 401; ) assert.ok(Date.now() < deadline, 'the token does not expire')
  everybody.push({ name: 'expired token', holds: {}, unknown: 'expired', credentials: async () => ({ token: expired }) })
  return { everybody, runs, numbers }
}
