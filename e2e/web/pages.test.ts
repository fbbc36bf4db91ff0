import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { after, before, test } from 'node:test'
import type { Page } from 'playwright-core'
import { faultlessInEveryLook } from './axe.ts'
import { openBrowser, skip } from './browser.ts'
import { startDemo, type Demo } from './demo.ts'

const built = join(import.meta.dirname, '../../dist/web')

test('the pages', { skip, timeout: 240_000 }, async (t) => {
  let demo: Demo
  let browser: Awaited<ReturnType<typeof openBrowser>>
  let page: Page
  before(async () => {
    demo = await startDemo(3)
    browser = await openBrowser()
    ;({ page } = await browser.open())
  })
  after(async () => {
    await browser?.[Symbol.asyncDispose]()
    await demo?.[Symbol.asyncDispose]()
  })

  await t.test('ask who one is, and refuse a wrong token with what to do', async () => {
    await page.goto(demo.url)
    await page.getByRole('button', { name: 'Use an API token' }).click()
    await page.getByLabel('API token').fill('dploy_api_wrong')
    await page.getByRole('button', { name: 'Sign in' }).click()
    await page.getByText('This token is not valid').waitFor()
    await demo.signIn(page)
  })

  await t.test('say what runs where and that it is well', async () => {
    await page.getByText('Greet differently').waitFor()
    await page.getByText('healthy on 3 of 3').waitFor()
  })

  await t.test('deploy by clicking, and show it to its end on every server', async () => {
    await demo.commit('greeting.txt', 'Hello from the third revision\n', 'Greet a third time')
    await page.getByRole('link', { name: 'Deploy hello to demo' }).click()
    await page.getByText('Greet a third time').first().waitFor()
    await page.getByText('All 3 servers are reachable').waitFor()
    await page.getByText('1 commit, 1 file,').waitFor()
    await page.getByRole('button', { name: /^Deploy \w+ to demo/ }).click()
    await page.getByRole('heading', { name: /^Deployment 3/ }).waitFor()
    await page.getByText('succeeded', { exact: true }).first().waitFor()
    await page.getByRole('heading', { name: 'Receipt' }).waitFor()
    assert.equal(await page.getByRole('row').filter({ hasText: 'switched' }).count(), 3)
    await page.getByRole('log').getByText('Succeeded').last().waitFor()
  })

  await t.test('search the log, and show one server alone', async () => {
    await page.getByLabel('Search the log').fill('draining')
    await page.getByText('3 lines', { exact: true }).waitFor()
    await page.getByLabel('Which server').selectOption('web2')
    await page.getByText('1 line', { exact: true }).waitFor()
  })

  await t.test('roll back by clicking', async () => {
    await page.getByRole('button', { name: 'Roll back to release 2' }).click()
    await page.getByRole('alertdialog').getByText('runs release 3 now').waitFor()
    await page.getByRole('alertdialog').getByRole('button', { name: 'Roll back to release 2' }).click()
    await page.getByRole('heading', { name: /^Deployment 4/ }).waitFor()
    await page.getByRole('heading', { name: 'Receipt' }).waitFor()
    await page.getByText('succeeded', { exact: true }).first().waitFor()
  })

  await t.test('show what broke, on which server, and that it went back by itself', async () => {
    await demo.commit('server.js', 'console.log("cannot start: no database")\nprocess.exit(1)\n', 'Break it')
    await page.getByRole('link', { name: 'Deploy…' }).click()
    await page.getByText('Break it').first().waitFor()
    await page.getByRole('button', { name: /^Deploy \w+ to demo/ }).click()
    await page.getByRole('heading', { name: /^Deployment 5/ }).waitFor()
    await page.getByText('rolled back', { exact: true }).first().waitFor()
    await page.getByRole('alert').filter({ hasText: 'web1' }).first().waitFor()
    await page.getByRole('heading', { name: 'Receipt' }).waitFor()
  })

  await t.test('find a revision by its message', async () => {
    await page.goto(`${demo.url}/environments/hello/demo/deploy`)
    await page.getByLabel('Search branches, tags and commits').fill('third TIME')
    // Until what was found has come, all revisions are there.
    await page
      .getByRole('radio', { name: /Break it/ })
      .first()
      .waitFor({ state: 'detached' })
    await page.getByRole('radio', { name: /Greet a third time/ }).check()
    await page.getByText('dploy deploy demo --revision').waitFor()
  })

  await t.test('compare two releases, and take a server out of traffic and back', async () => {
    await page.goto(`${demo.url}/environments/hello/demo/releases`)
    await page.getByLabel('Compare release 1', { exact: true }).check()
    await page.getByLabel('Compare release 3', { exact: true }).check()
    await page.getByRole('button', { name: 'Compare', exact: true }).click()
    await page.getByRole('dialog').getByText('greeting.txt').waitFor()
    await page.getByRole('dialog').getByText('Greet differently').waitFor()
    await page.getByRole('button', { name: 'Close' }).click()
    await page.getByRole('link', { name: 'Servers' }).click()
    const row = page.getByRole('row').filter({ hasText: 'web2' })
    await row.getByRole('button', { name: 'Drain' }).click()
    await page.getByRole('button', { name: 'Drain web2' }).click()
    await row.getByText('out of traffic').waitFor()
    await row.getByRole('button', { name: 'Make ready' }).click()
    await row.getByText('serves').waitFor()
  })

  await t.test('show the line that adds a server', async () => {
    await page.getByRole('button', { name: 'Add a server…' }).click()
    await page.getByLabel('Its name').fill('web9')
    await page.getByRole('button', { name: 'Show the line' }).click()
    await page.getByText('waiting for it…').waitFor()
    await page.keyboard.press('Escape')
  })

  await t.test('run a command on all servers, fold what is the same, and interrupt it', async () => {
    await page.getByRole('link', { name: 'Console' }).click()
    await page.getByLabel('Command', { exact: true }).fill('echo "the same"')
    await page.getByRole('button', { name: 'Run' }).click()
    const answer = page.getByRole('region', { name: 'What 3 servers answered' })
    await answer.getByText('the same').waitFor()
    await answer.getByText('code 0').waitFor()
    await page.getByLabel('Command', { exact: true }).fill('echo begun; sleep 600')
    await page.getByRole('button', { name: 'Run' }).click()
    await answer.getByText('begun').waitFor()
    await page.getByLabel('Command', { exact: true }).press('Control+c')
    await page.getByRole('button', { name: 'Run' }).waitFor()
    await page.getByText(/3 servers: (ended by|code)/).waitFor()
  })

  await t.test('go anywhere by keys', async () => {
    await page.keyboard.press('Control+k')
    await page.getByLabel('Where to?').fill('demo: rel')
    await page.keyboard.press('Enter')
    await page.getByText('Choose two to see what differs.').waitFor()
    await page.keyboard.press('?')
    await page.getByRole('dialog').getByText('go anywhere').waitFor()
    await page.keyboard.press('Escape')
    await page.getByRole('dialog').waitFor({ state: 'detached' })
    await page.keyboard.press('d')
    await page.getByRole('heading', { name: 'Deploy hello to demo' }).waitFor()
  })

  await t.test('say that the connection is lost, keep what was seen, and go on by themselves', async () => {
    await page.goto(demo.url)
    await page.getByText('healthy on 3 of 3').waitFor()
    await page.context().setOffline(true)
    await page.getByText('The control plane does not answer.').waitFor()
    assert.ok(await page.getByText('healthy on 3 of 3').isVisible())
    await page.context().setOffline(false)
    await page.getByText('The control plane does not answer.').waitFor({ state: 'detached' })
  })

  await t.test('have no fault that axe finds, light and dark, and fit a phone', async () => {
    const { page: own, context } = await browser.open()
    await own.goto(demo.url)
    await faultlessInEveryLook(own, 'sign-in')
    await demo.signIn(own)
    for (const path of [
      '/',
      '/deployments',
      '/deployments/5',
      ...['deploy', 'servers', 'releases', 'deployments', 'logs', 'console', 'settings'].map(
        (name) => `/environments/hello/demo/${name}`,
      ),
      '/nowhere',
    ]) {
      await own.goto(demo.url + path)
      await faultlessInEveryLook(own, path)
    }
    await own.goto(`${demo.url}/environments/hello/demo/servers`)
    await own.getByRole('button', { name: 'Add a server…' }).click()
    await faultlessInEveryLook(own, 'dialog')
    await context.close()
  })

  await t.test('hold no script or style of their own, and break none of the rules that forbid them', () => {
    const html = readFileSync(join(built, 'index.html'), 'utf8')
    assert.doesNotMatch(html, /<script(?![^>]*\bsrc=)|<style|\bstyle=|\bon[a-z]+=/)
    assert.doesNotMatch(html, /(?:src|href)="(?:https?:)?\/\//, 'nothing comes from elsewhere')
    assert.deepEqual(browser.trouble, [])
  })

  await t.test('load less than 250 KB of compressed JavaScript first, cached for good', async () => {
    const { initialScript } = JSON.parse(readFileSync(join(built, 'built.json'), 'utf8')) as { initialScript: number }
    assert.ok(initialScript < 250 * 1024, `${initialScript} bytes`)
    const [script] = /\/assets\/main-\w+\.js/.exec(readFileSync(join(built, 'index.html'), 'utf8'))!
    const answer = await fetch(demo.url + script, { headers: { 'accept-encoding': 'br' } })
    assert.equal(answer.headers.get('cache-control'), 'public, max-age=31536000, immutable')
    assert.equal(answer.headers.get('content-encoding'), 'br')
    assert.equal((await fetch(`${demo.url}/assets/..%2Findex.html`)).status, 404)
    assert.equal(
      (await fetch(`${demo.url}/api/v1/nothing`, { headers: { accept: 'text/html' } })).headers.get('content-type'),
      'application/problem+json',
    )
  })
})
