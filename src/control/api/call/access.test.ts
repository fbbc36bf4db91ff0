import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { FastifyRequest } from 'fastify'
import type { Route } from '../../../protocol/api/route.ts'
import { Rights } from '../../people/rights.ts'
import { admit } from './access.ts'
import { localCaller } from './caller.ts'
import type { ApiContext } from '../context.ts'

test('a route that declares nothing is refused to everybody, administrators too', async () => {
  const forgotten = { method: 'POST', path: '/api/v1/forgotten', summary: '' } as unknown as Route
  await assert.rejects(admit({} as ApiContext, forgotten, localCaller, {} as FastifyRequest), { code: 'forbidden' })
})

test('rights: the better of here and everywhere counts, and two together let do what both do', () => {
  const viewerAndDeployer = Rights.ofGrants([
    { role: 'viewer', environment: null },
    { role: 'deployer', environment: 'env_1' },
  ])
  assert.ok(viewerAndDeployer.may('deploy', 'env_1'))
  assert.ok(!viewerAndDeployer.may('deploy', 'env_2'))
  assert.ok(viewerAndDeployer.may('read', null))
  const administratorAndViewer = Rights.ofGrants([
    { role: 'administrator', environment: null },
    { role: 'viewer', environment: 'env_1' },
  ])
  assert.ok(administratorAndViewer.may('administer', 'env_1'), 'a lesser role somewhere takes nothing away')
  const token = Rights.ofToken({ right: 'administer', environments: ['env_1', 'env_2'] })
  const both = viewerAndDeployer.and(token)
  assert.ok(both.may('deploy', 'env_1') && !both.may('administer', 'env_1'))
  assert.ok(both.may('read', 'env_2') && !both.may('deploy', 'env_2'))
  assert.ok(!both.may('read', null) && !both.may('read', 'env_3'))
  assert.deepEqual(both.environments('deploy'), ['env_1'])
  assert.deepEqual(Rights.none.and(Rights.all).list(), [])
})
