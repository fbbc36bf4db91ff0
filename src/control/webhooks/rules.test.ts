import assert from 'node:assert/strict'
import { test } from 'node:test'
import { readConfig } from '../../protocol/config/text.ts'
import type { Environment } from '../store/applications.ts'
import { isSource, placeOf } from './repository.ts'
import { judge } from './rules.ts'
import type { Push } from './push.ts'

const push = (...branches: string[]): Push => ({
  repository: {
    urls: ['https://github.com/Example/Shop.git', 'git@github.com:example/shop.git'],
    path: null,
    name: 'example/shop',
    defaultBranch: 'main',
  },
  branches: branches.map((name) => ({ name, commit: 'a'.repeat(40) })),
  by: 'anna',
})
const config = readConfig(`
application: shop
source: git@github.com:example/shop.git
service: { command: node server.js, port: 3000 }
environments:
  production: { branch: main, servers: [web1] }
  default: { servers: [web2] }
  releases: { on_push: ['release/*', 'hotfix'], servers: [web3] }
  manual: { branch: main, on_push: false, servers: [web4] }
`)
const environments: Environment[] = Object.keys(config.environments).map((name) => ({
  id: `env_${name}`,
  application: 'shop',
  name,
  config,
  base: '/srv/shop',
  wantedRelease: null,
  liveGroup: null,
  takenOver: null,
}))
const deployed = (...args: Parameters<typeof judge>) =>
  judge(...args).flatMap(({ environment, branch }) => (branch ? [`${environment.name} ${branch.name}`] : []))
const all = { application: null, environments: null }

test('an environment follows its branch, or the default branch, or what its rules say', () => {
  assert.deepEqual(deployed(push('main'), environments, all), ['production main', 'default main'])
  assert.deepEqual(deployed(push('release/2', 'release/3'), environments, all), ['releases release/3'])
  assert.deepEqual(deployed(push('release/a/b'), environments, all), [], 'a star does not go over a slash')
  assert.deepEqual(deployed(push('hotfix', 'feature'), environments, all), ['releases hotfix'])
  assert.match(
    judge(push('main'), environments, all).find(({ environment }) => environment.name === 'manual')!.reason,
    /on_push: false/,
  )
})

test('a webhook reaches only what it is for', () => {
  assert.deepEqual(deployed(push('main'), environments, { application: 'shop', environments: ['default'] }), [
    'default main',
  ])
  assert.deepEqual(judge(push('main'), environments, { application: 'blog', environments: null }), [])
})

test('another repository concerns nobody', () => {
  const other = {
    ...push('main'),
    repository: {
      ...push('main').repository,
      urls: ['https://github.com/example/shop2.git', 'https://evil.example/github.com/example/shop.git'],
    },
  }
  assert.deepEqual(judge(other, environments, all), [])
})

test('one repository has many addresses', () => {
  const shop = { host: 'github.com', path: 'example/shop' }
  for (const url of [
    'https://github.com/example/shop',
    'https://github.com/example/shop.git/',
    'https://anna:secret@GitHub.com/Example/Shop.git',
    'git@github.com:example/shop.git',
    'github.com:example/shop',
    'ssh://git@ssh.github.com:443/example/shop.git',
    'git://github.com/example/shop.git',
  ]) {
    assert.deepEqual(placeOf(url), shop, url)
  }
  assert.equal(placeOf('.'), null)
  assert.equal(placeOf('../shop'), null)
  const dataCenter = { urls: [], path: 'EX/shop', name: 'EX/shop', defaultBranch: null }
  assert.equal(isSource('https://bitbucket.example.org/scm/ex/shop.git', null, dataCenter), true)
  assert.equal(isSource('ssh://git@bitbucket.example.org:7999/ex/shop.git', null, dataCenter), true)
  assert.equal(isSource('ssh://git@bitbucket.example.org:7999/rex/shop.git', null, dataCenter), false)
})

test('a path on the machine of the control plane is the source only where the webhook says so, or the same path is told', () => {
  const local = environments.map((one) => ({
    ...one,
    config: { ...config, source: { repository: '.', subfolder: undefined } },
  }))
  assert.deepEqual(judge(push('main'), local, all), [])
  assert.deepEqual(deployed(push('main'), local, { application: 'shop', environments: null }), [
    'production main',
    'default main',
  ])
  const told = { ...push('main'), repository: { ...push('main').repository, urls: ['file:///srv/shop'] } }
  assert.deepEqual(deployed(told, local, all), ['production main', 'default main'])
})
