import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, test } from 'node:test'
import type { Page } from 'playwright-core'
import { faultless } from './axe.ts'
import { openBrowser, skip } from './browser.ts'
import { startDemo, type Demo } from './demo.ts'

const server = `const { readFileSync } = require('node:fs')
const health = Number(readFileSync('health.txt', 'utf8'))
const server = require('node:http').createServer((request, response) => {
  if (request.url === '/healthz') response.statusCode = health
  response.end(health === 200 ? 'ok' : 'database pool exhausted')
})
server.keepAliveTimeout = 65_000
server.listen(process.env.PORT)
process.on('SIGTERM', () => server.close(() => process.exit(0)))
`

test('the pages say what is so', { skip, timeout: 200_000 }, async (t) => {
  const repository = mkdtempSync(join(tmpdir(), 'dploy-so-'))
  const params = { application: 'shop', environment: 'demo' }
  let demo: Demo
  let browser: Awaited<ReturnType<typeof openBrowser>>
  let page: Page
  let bad = ''
  let failed = 0
  let good = 0
  before(async () => {
    writeFileSync(join(repository, 'server.js'), server)
    writeFileSync(
      join(repository, 'dploy.yml'),
      `application: shop\nsource: { repository: . }\nservice: { command: '${process.execPath} server.js', port: 3000, health: { path: /healthz, timeout: 1500ms } }\nenvironments: { demo: { servers: [web1], strategy: { batch: 1 } } }\n`,
    )
    git('init', '--quiet', '--initial-branch', 'main')
    commit('Sell things', '200')
    demo = await startDemo(2, repository)
    good = (await demo.client.call('status', { params })).wanted!.release
    browser = await openBrowser()
    ;({ page } = await browser.open())
    await demo.signIn(page)
  })
  after(async () => {
    await browser?.[Symbol.asyncDispose]()
    await demo?.[Symbol.asyncDispose]()
    rmSync(repository, { recursive: true, force: true })
  })

  await t.test('a search never hides what the button deploys, and the button names it', async () => {
    bad = commit('Forget the database', '500')
    const newest = commit('Rename the shop', '500')
    await page.goto(`${demo.url}/environments/shop/demo/deploy`)
    await page.getByRole('button', { name: `Deploy ${newest.slice(0, 7)} to demo` }).waitFor()
    const search = page.getByLabel('Search branches, tags and commits')
    await search.fill('nothing has this')
    await page.getByText('Nothing has "nothing has this"').waitFor()
    const chosen = page.getByRole('radio', { checked: true })
    assert.equal(await chosen.count(), 1, 'what is chosen is in the list')
    assert.match(await page.locator('.choice:has(input:checked)').innerText(), /Rename the shop/)
    await search.fill('Forget the data')
    await page.getByText('Forget the database').first().waitFor()
    assert.equal(await chosen.count(), 1)
    await search.press('Enter')
    await page.getByRole('button', { name: `Deploy ${bad.slice(0, 7)} to demo` }).waitFor()
    assert.match(await page.locator('.choice:has(input:checked)').innerText(), /Forget the database/)
    await faultless(page, 'a revision that was searched for')
    await page.getByRole('button', { name: `Deploy ${bad.slice(0, 7)} to demo` }).click()
    await page.getByRole('heading', { name: /^Deployment \d+/ }).waitFor()
    failed = Number(/\d+$/.exec(new URL(page.url()).pathname)![0])
    await page.getByText('rolled back', { exact: true }).first().waitFor()
    assert.equal((await demo.client.call('deployment', { params: { number: failed } })).revision!.commit, bad)
  })

  await t.test(
    'the phase that failed has the cross, the way back its check, and a sentence says what runs now',
    async () => {
      const phase = (name: string) => page.locator('.phase').filter({ hasText: name })
      await page.getByRole('heading', { name: 'Receipt' }).waitFor()
      assert.match(await phase('activate').innerText(), /failed/)
      assert.match(await phase('roll back').innerText(), /done/)
      await page.getByText(`All 2 servers run release ${good} again.`).waitFor()
    },
  )

  await t.test('a command to copy is a command', async () => {
    const commands = await page.locator('.problem .command-line code').allInnerTexts()
    assert.ok(commands.length > 0)
    for (const command of commands) assert.doesNotMatch(command, /;|\bor\b/, command)
  })

  await t.test('deploy again takes the revision of that deployment', async () => {
    await page
      .getByRole('link', { name: `Deploy ${bad.slice(0, 7)} again…` })
      .first()
      .click()
    await page.getByRole('button', { name: `Deploy ${bad.slice(0, 7)} to demo` }).waitFor()
  })

  await t.test('a release that never served is called that, and is not one press away', async () => {
    await page.goto(`${demo.url}/environments/shop/demo/releases`)
    const row = page.getByRole('row').filter({ hasText: 'Forget the database' })
    await row.getByText('never served').waitFor()
    assert.match(await row.innerText(), new RegExp(`deployment ${failed}`))
    await row.getByRole('button', { name: /^Activate release/ }).click()
    const question = page.getByRole('alertdialog')
    await question.getByText(`It never served: deployment ${failed} rolled it back`).waitFor()
    assert.doesNotMatch(await question.innerText(), /Roll demo back/)
    const go = question.getByRole('button', { name: /^Activate release/ })
    assert.equal(await go.isDisabled(), true)
    await question.getByRole('checkbox').check()
    assert.equal(await go.isDisabled(), false)
    await faultless(page, 'the question before a release is activated that never served')
    await page.keyboard.press('Escape')
    await question.waitFor({ state: 'detached' })
  })

  await t.test('what needs a person stands on top of the overview, in its number and in the title', async () => {
    let asked = 0
    const count = (request: { url(): string }) => {
      if (/\/api\/v1\/(overview|environments)/.test(request.url())) asked++
    }
    page.on('request', count)
    await page.goto(demo.url)
    const needs = page.getByRole('region', { name: /^Needs you/ })
    await needs.getByText('rolled back').waitFor()
    await page.waitForFunction('document.title.startsWith("(1) Overview")')
    page.off('request', count)
    assert.ok(asked <= 2, `${asked} requests for the environments`)
    await page.getByLabel(/^Search applications/).fill('demo SHOP')
    await page.getByText('1 environment', { exact: true }).waitFor()
    await page.getByLabel(/^Search applications/).fill('nowhere')
    await page.getByText('0 of 1 environments').waitFor()
    assert.equal(new URL(page.url()).search, '?q=nowhere')
    await page.reload()
    await page.getByText('0 of 1 environments').waitFor()
    await page.getByLabel(/^Search applications/).fill('')
    await faultless(page, 'what needs a person')
    await needs.getByRole('link', { name: /^Why/ }).click()
    await page.getByRole('heading', { name: `Deployment ${failed}` }).waitFor()
  })

  await t.test('a converge hides no failed deployment; a drained server is no healthy one', async () => {
    await demo.client.call('drainServer' as never, { params: { server: 'web2' }, body: {} } as never)
    await page.goto(demo.url)
    await page.getByText('1 out of traffic').waitFor()
    assert.equal(await page.getByText('healthy on 2 of 2').count(), 0)
    await demo.client.call('readyServer' as never, { params: { server: 'web2' }, body: {} } as never)
    await page.getByText('healthy on 2 of 2').waitFor()
  })

  await t.test('the revision of a rollback is that of its release', async () => {
    commit('Sell more', '200')
    const to = await demo.client.call('deploy', { params, body: {} })
    await ended(to.number)
    const back = await demo.client.call('rollback', { params, body: { release: good } })
    await ended(back.number)
    await page.goto(`${demo.url}/deployments/${back.number}`)
    await page.getByRole('heading', { name: 'Receipt' }).waitFor()
    assert.match(await page.locator('.page-head').innerText(), /Sell things/)
    assert.equal(await page.getByText('no revision yet').count(), 0)
  })

  await t.test('r goes back from the head of an environment, naming the release', async () => {
    for (const path of ['servers', 'logs', 'settings']) {
      await page.goto(`${demo.url}/environments/shop/demo/${path}`)
      await page.getByRole('button', { name: /^Roll back to release \d+…$/ }).waitFor()
      await page.keyboard.press('r')
      await page.getByRole('alertdialog').waitFor()
      await page.keyboard.press('Escape')
      await page.getByRole('alertdialog').waitFor({ state: 'detached' })
    }
  })

  await t.test('a browser whose clock is wrong shows right ages', async () => {
    const { page: late, context } = await browser.open()
    await late.clock.install({ time: new Date(Date.now() + 3_600_000) })
    await demo.signIn(late)
    await late
      .getByText(/release \d+ since/)
      .first()
      .waitFor()
    assert.doesNotMatch(await late.locator('.environment').first().innerText(), /since (59|60) min ago|since 1 h ago/)
    await context.close()
  })

  await t.test('none of it says an error', () => assert.deepEqual(browser.trouble, []))

  async function ended(number: number): Promise<void> {
    for await (const _ of demo.client.stream('deploymentEvents', { params: { number }, query: { after: 0 } }, {}))
      void _
  }
  function git(...args: string[]): string {
    return execFileSync(
      'git',
      [
        '-C',
        repository,
        ...['-c', 'user.name=Anna', '-c', 'user.email=anna@localhost'],
        ...['-c', 'commit.gpgsign=false', '-c', 'core.hooksPath=/dev/null'],
        ...args,
      ],
      { encoding: 'utf8' },
    ).trim()
  }
  function commit(message: string, health: string): string {
    writeFileSync(join(repository, 'health.txt'), health)
    writeFileSync(join(repository, 'message.txt'), message)
    git('add', '--all')
    git('commit', '--quiet', '--message', message)
    return git('rev-parse', 'HEAD')
  }
})
