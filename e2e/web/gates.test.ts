import assert from 'node:assert/strict'
import { execFile } from 'node:child_process'
import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { after, before, test } from 'node:test'
import { promisify } from 'node:util'
import type { Page } from 'playwright-core'
import { Team } from '../commands/team.ts'
import { faultless } from './axe.ts'
import { openBrowser, skip } from './browser.ts'

const params = { application: 'shop', environment: 'production' }
const config = (strategy: object, build: object = {}) =>
  JSON.stringify({
    application: 'shop',
    build: { leave_out: ['dploy.yml'], ...build },
    environments: {
      production: {
        branch: 'main',
        servers: [{ name: 'web1' }, { name: 'web2' }],
        strategy: { kind: 'rolling', batch: 1, bake: '100ms', ...strategy },
      },
    },
  })

test('a deployment that waits for a person between batches, on its page', { skip, timeout: 180_000 }, async (t) => {
  let team: Team
  let browser: Awaited<ReturnType<typeof openBrowser>>
  let page: Page
  before(async () => {
    team = await Team.up({ servers: 2 })
    writeFileSync(join(team.directory, '.gitignore'), '/.dploy\n/web*\n*.log\n')
    await git('init', '--quiet', '--initial-branch=main')
    await commit('one', {})
    const first = await team.client.call('deploy', { params, body: {} })
    for await (const _ of team.client.stream('deploymentEvents', { params: { number: first.number }, query: {} }))
      continue
    browser = await openBrowser()
    page = (await browser.open()).page
    const { link } = await team.client.call('addPerson', {
      body: { email: 'anna@example.org', name: 'Anna', grants: [{ role: 'deployer', place: params }] },
    })
    await comeIn(page, link)
  })
  after(async () => {
    await browser?.[Symbol.asyncDispose]()
    await team?.[Symbol.asyncDispose]()
  })
  const gate = () => page.getByRole('region', { name: 'It waits for a person' })

  await t.test(
    'the page that was open says that it waits, without a reload; a viewer finds nothing to press; one click lets it go on',
    async () => {
      await commit('two', { pause: 'after_batch' })
      await begin()
      await gate().getByText('after').first().waitFor()
      assert.deepEqual(served(), ['two\n', 'one\n'])
      await faultless(page, 'gate')
      const { link } = await team.client.call('addPerson', {
        body: { email: 'vera@example.org', name: 'Vera', grants: [{ role: 'viewer', place: params }] },
      })
      const vera = await browser.open()
      await comeIn(vera.page, link)
      await vera.page.goto(page.url())
      await vera.page.getByRole('region', { name: 'It waits for a person' }).waitFor()
      assert.equal(await vera.page.getByRole('button', { name: /^(Go on|Go back|Pause|Roll back|Cancel)$/ }).count(), 0)
      await vera.context.close()
      await gate().getByRole('button', { name: 'Go on' }).click()
      await page.getByText('succeeded', { exact: true }).first().waitFor()
      assert.equal(await gate().count(), 0)
      assert.deepEqual(served(), ['two\n', 'two\n'])
    },
  )

  await t.test(
    'paused by a click while it builds it stops before its first batch, and goes back by another click',
    async () => {
      await commit('three', {}, { command: 'sleep 4' })
      await begin()
      await page.getByRole('button', { name: 'Pause', exact: true }).click()
      await gate()
        .getByText(/Anna.* paused it/)
        .waitFor()
      assert.deepEqual(served(), ['two\n', 'two\n'])
      await gate().getByRole('button', { name: 'Go back' }).click()
      await page.getByRole('alertdialog').getByRole('button', { name: 'Go back' }).click()
      await page
        .getByText(/^(rolled back|cancelled)$/)
        .first()
        .waitFor()
      assert.deepEqual(served(), ['two\n', 'two\n'])
      assert.deepEqual(browser.trouble, [])
    },
  )

  async function begin(): Promise<void> {
    const { number } = await team.client.call('deploy', { params, body: {} })
    await page.goto(`${team.url}/deployments/${number}`)
    await page.getByRole('heading', { name: new RegExp(`^Deployment ${number}`) }).waitFor()
  }

  function served(): string[] {
    return ['web1', 'web2'].map((server) =>
      readFileSync(join(team.root(server), 'srv/shop/current/version.txt'), 'utf8'),
    )
  }

  async function comeIn(on: Page, link: string): Promise<void> {
    await on.goto(link, { timeout: 90_000 })
    await on.getByLabel('Password').fill('correct horse battery')
    await on.getByRole('button', { name: 'Sign in' }).click()
    await on.getByRole('heading', { name: 'Overview' }).waitFor()
  }

  async function commit(version: string, strategy: object, build: object = {}): Promise<void> {
    writeFileSync(join(team.directory, 'version.txt'), `${version}\n`)
    writeFileSync(join(team.directory, 'dploy.yml'), config(strategy, build))
    await team.client.call('apply', { body: { text: config(strategy, build), base: team.directory } })
    await git('add', '--all')
    await git('commit', '--quiet', '--message', version)
  }

  async function git(...args: string[]): Promise<void> {
    await promisify(execFile)(
      'git',
      ['-C', team.directory, '-c', 'user.name=Anna', '-c', 'user.email=anna@example.org', ...args],
      { env: { ...process.env, GIT_CONFIG_GLOBAL: '/dev/null' } },
    )
  }
})
