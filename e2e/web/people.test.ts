import assert from 'node:assert/strict'
import { execFile } from 'node:child_process'
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { after, before, test } from 'node:test'
import { promisify } from 'node:util'
import type { Page } from 'playwright-core'
import { Team } from '../commands/team.ts'
import { githubPush, sendAsGithub } from '../webhooks/sender.ts'
import { faultless, faultlessInEveryLook } from './axe.ts'
import { openBrowser, skip } from './browser.ts'
import { pressEverything } from './press-everything.ts'

const run = promisify(execFile)
const password = 'correct horse battery'
const config = JSON.stringify({
  application: 'shop',
  build: { leave_out: ['dploy.yml'] },
  environments: {
    production: {
      branch: 'main',
      protected: true,
      servers: [{ name: 'web1' }],
      strategy: { kind: 'all-at-once', bake: '100ms' },
    },
    staging: { branch: 'main', servers: [{ name: 'web2' }], strategy: { kind: 'all-at-once', bake: '100ms' } },
  },
})

test('what people may do on the pages', { skip, timeout: 290_000 }, async (t) => {
  let team: Team
  let browser: Awaited<ReturnType<typeof openBrowser>>
  let anna: Page
  const links: Record<string, string> = {}
  before(async () => {
    team = await Team.up({ servers: 2 })
    writeFileSync(join(team.directory, 'dploy.yml'), config)
    writeFileSync(join(team.directory, '.gitignore'), '/.dploy\n/web*\n*.log\n')
    await git('init', '--quiet', '--initial-branch=main')
    await commit('one')
    await team.client.call('apply', { body: { text: config, base: team.directory } })
    browser = await openBrowser()
    anna = (await browser.open()).page
    const { link } = await team.client.call('addPerson', {
      body: { email: 'anna@example.org', name: 'Anna', grants: [{ role: 'administrator', place: null }] },
    })
    links.Anna = link
  })
  after(async () => {
    await browser?.[Symbol.asyncDispose]()
    await team?.[Symbol.asyncDispose]()
  })

  await t.test('an administrator adds people, who come in by the link that is shown', async () => {
    await comeIn(anna, links.Anna!)
    for (const [name, role] of [
      ['Bert', 'deployer'],
      ['Carl', 'deployer'],
      ['Vera', 'viewer'],
    ] as const) {
      await anna.goto(`${team.url}/settings/people`)
      await anna.getByLabel('Name', { exact: true }).fill(name)
      await anna.getByLabel('E-mail address').fill(`${name.toLowerCase()}@example.org`)
      await anna.getByLabel('May', { exact: true }).selectOption(role)
      await anna.getByRole('button', { name: 'Add person' }).click()
      links[name] = (await anna.getByText('/invitation#').innerText()).trim()
      await anna.getByRole('cell', { name: `${name.toLowerCase()}@example.org` }).waitFor()
    }
  })

  await t.test('a viewer sees everything and finds nothing to press', async () => {
    const { page, context } = await browser.open()
    await comeIn(page, links.Vera!)
    for (const path of [
      '/',
      '/deployments',
      ...['servers', 'releases', 'deployments', 'logs', 'settings'].map((name) => `/environments/shop/staging/${name}`),
    ]) {
      await page.goto(team.url + path)
      await page.locator('h1').waitFor()
      await page
        .getByText(/nothing deployed|healthy|Nothing has been|No release|line|Secrets|connected/i)
        .first()
        .waitFor()
      for (const name of [
        /deploy\b.*…/i,
        /^Roll back/,
        /^Activate/,
        /^Drain/,
        /^Add a server/,
        /^Promote/,
        /^Approve/,
        /^Set secret/,
      ]) {
        assert.equal(
          (await page.getByRole('button', { name }).count()) + (await page.getByRole('link', { name }).count()),
          0,
          `${path}: ${name}`,
        )
      }
    }
    await page.goto(`${team.url}/environments/shop/staging/deploy`)
    await page.getByText('You may look, not deploy here.').waitFor()
    assert.equal(await page.getByRole('button', { name: /[Dd]eploy .*to staging/ }).count(), 0)
    await page.goto(`${team.url}/settings`)
    assert.equal(await page.getByRole('link', { name: 'People' }).count(), 0)
    await context.close()
  })

  await t.test('two people: one asks, the other approves', async () => {
    const bert = await browser.open()
    const carl = await browser.open()
    await comeIn(bert.page, links.Bert!)
    await comeIn(carl.page, links.Carl!)
    await bert.page.getByRole('link', { name: 'Deploy shop to production' }).click()
    await bert.page.getByRole('button', { name: /[Dd]eploy .*to production/ }).click()
    await bert.page.getByText('another person has to approve this').waitFor()
    await bert.page.getByText('You asked for it').waitFor()
    assert.equal(await bert.page.getByRole('button', { name: 'Approve', exact: true }).count(), 0)
    await carl.page.goto(bert.page.url())
    await carl.page.getByLabel('Note').fill('looks good')
    await faultless(carl.page, 'approval')
    await carl.page.getByRole('button', { name: 'Approve', exact: true }).click()
    await bert.page.getByText(/Approved by Carl.*looks good/).waitFor()
    await bert.page.getByText('succeeded', { exact: true }).first().waitFor()
    await bert.context.close()
    await carl.context.close()
  })

  await t.test('what runs in one environment is promoted to another: the same artifact', async () => {
    await anna.goto(`${team.url}/environments/shop/production`)
    await anna.getByRole('link', { name: 'Promote to staging…' }).click()
    await anna.getByRole('heading', { name: 'Promote shop from production to staging' }).waitFor()
    await anna.getByRole('button', { name: /[Dd]eploy .*to staging/ }).click()
    await anna.getByRole('heading', { name: /^Deployment 2/ }).waitFor()
    await anna.getByText('succeeded', { exact: true }).first().waitFor()
    const [production, staging] = await Promise.all(
      ['production', 'staging'].map((environment) =>
        team.client.call('releases', { params: { application: 'shop', environment }, query: {} }),
      ),
    )
    assert.equal(staging!.releases[0]!.artifact, production!.releases[0]!.artifact)
  })

  await t.test('a push that a webhook tells of starts a deployment', async () => {
    await anna.goto(`${team.url}/settings/webhooks`)
    await anna.getByLabel('Deploys').selectOption('shop')
    await anna.getByRole('button', { name: 'Add webhook' }).click()
    await anna.locator('.once code').first().waitFor()
    const [secret, address] = await anna.locator('.once code').allInnerTexts()
    const pushed = await commit('two')
    const sent = await sendAsGithub(
      address!.trim(),
      secret!.trim(),
      githubPush('https://github.com/example/shop.git', 'main', pushed),
    )
    assert.equal(sent.status, 202, JSON.stringify(sent.body))
    await anna
      .getByRole('link', { name: /^deployment \d+$/ })
      .first()
      .click()
    await anna.getByRole('heading', { name: /^Deployment/ }).waitFor()
    await anna.getByText('two').first().waitFor()
  })

  await t.test('a token is shown once, and the audit log says who made it', async () => {
    await anna.goto(`${team.url}/settings/tokens`)
    await anna.getByLabel('What it is for').fill('CI of shop')
    await anna.getByLabel('It may').selectOption('read')
    await anna.getByRole('button', { name: 'Make token' }).click()
    const token = (await anna.locator('.once code').first().innerText()).trim()
    assert.equal(
      (await fetch(`${team.url}/api/v1/environments`, { headers: { authorization: `Bearer ${token}` } })).status,
      200,
    )
    await anna.reload()
    await anna.getByText('CI of shop').waitFor()
    assert.equal(await anna.getByText(token).count(), 0)
    await anna.goto(`${team.url}/settings/audit`)
    await anna.getByRole('row').filter({ hasText: 'createToken' }).filter({ hasText: 'Anna' }).first().waitFor()
  })

  await t.test('a secret is written and never shown', async () => {
    await anna.goto(`${team.url}/environments/shop/staging/settings`)
    await anna.getByLabel('Name', { exact: true }).fill('DATABASE_URL')
    await anna.getByLabel('Value').fill('postgres://hidden')
    await anna.getByRole('button', { name: 'Set secret' }).click()
    await anna.getByRole('cell', { name: 'DATABASE_URL' }).waitFor()
    assert.ok(!(await anna.content()).includes('postgres://hidden'))
  })

  await t.test('whatever a viewer presses, on every page, would change nothing', async (one) => {
    const { page, context } = await browser.open()
    await page.goto(team.url)
    await page.getByLabel('E-mail address').fill('vera@example.org')
    await page.getByLabel('Password').fill(password)
    await page.getByRole('button', { name: 'Sign in' }).click()
    await page.getByRole('heading', { name: 'Overview' }).waitFor()
    const environment = ['deploy', 'servers', 'releases', 'deployments', 'logs', 'console', 'settings'].map(
      (name) => `/environments/shop/staging/${name}`,
    )
    const places = [
      '/',
      '/deployments',
      '/deployments/1',
      '/deployments/2',
      ...environment,
      '/environments/shop/staging/terminal/web2',
      ...['people', 'tokens', 'webhooks', 'audit'].map((name) => `/settings/${name}`),
    ]
    const all: string[] = []
    for (const place of places) {
      const { changes, pressed } = await pressEverything(page, team.url + place)
      assert.deepEqual(changes, [], `${place}: ${pressed.join(', ')}`)
      all.push(...pressed)
    }
    await context.close()
    one.diagnostic(`a viewer pressed ${all.length}: ${[...new Set(all)].join(', ').slice(0, 600)}`)
    assert.ok(all.length >= 10, 'there is much that moves nothing: filters, tabs of the log, what unfolds')
  })

  await t.test('settings have no fault that axe finds, light and dark, and fit a phone', async () => {
    for (const path of ['account', 'tokens', 'people', 'webhooks', 'audit']
      .map((name) => `/settings/${name}`)
      .concat('/environments/shop/staging/settings')) {
      await anna.goto(team.url + path)
      await anna.getByRole('heading', { level: 1 }).waitFor()
      await anna.locator('.card').first().waitFor()
      await faultlessInEveryLook(anna, path)
    }
  })

  await t.test('none of it says an error', () => assert.deepEqual(browser.trouble, []))

  async function comeIn(page: Page, link: string): Promise<void> {
    await page.goto(link, { timeout: 90_000 })
    await page.getByLabel('Password').fill(password)
    await page.getByRole('button', { name: 'Sign in' }).click()
    await page.getByRole('heading', { name: 'Overview' }).waitFor()
  }
  async function git(...args: string[]): Promise<string> {
    return (
      await run('git', ['-C', team.directory, '-c', 'user.name=Anna', '-c', 'user.email=anna@example.org', ...args], {
        env: { ...process.env, GIT_CONFIG_GLOBAL: '/dev/null' },
      })
    ).stdout.trim()
  }
  async function commit(version: string): Promise<string> {
    writeFileSync(join(team.directory, 'version.txt'), `${version}\n`)
    await git('add', '--all')
    await git('commit', '--quiet', '--message', version)
    return git('rev-parse', 'HEAD')
  }
})
