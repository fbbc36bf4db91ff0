import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { after, before, test } from 'node:test'
import type { Page } from 'playwright-core'
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
    await page.getByText('All 3 servers answer').waitFor()
    await page.getByRole('button', { name: 'Deploy to demo' }).click()
    await page.getByRole('heading', { name: /^Deployment 3/ }).waitFor()
    await page.getByText('succeeded', { exact: true }).first().waitFor()
    await page.getByRole('heading', { name: 'Receipt' }).waitFor()
    assert.equal(await page.getByRole('row').filter({ hasText: 'switched' }).count(), 3)
    await page.getByText('The deployment is succeeded').last().waitFor()
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
    await page.getByRole('button', { name: 'Activate release 2' }).click()
    await page.getByRole('heading', { name: /^Deployment 4/ }).waitFor()
    await page.getByRole('heading', { name: 'Receipt' }).waitFor()
    await page.getByText('succeeded', { exact: true }).first().waitFor()
  })

  await t.test('show what broke, on which server, and that it went back by itself', async () => {
    await demo.commit('server.js', 'console.log("cannot start: no database")\nprocess.exit(1)\n', 'Break it')
    await page.getByRole('link', { name: 'Deploy…' }).click()
    await page.getByRole('button', { name: 'Deploy to demo' }).click()
    await page.getByRole('heading', { name: /^Deployment 5/ }).waitFor()
    await page.getByText('rolled back', { exact: true }).first().waitFor()
    await page.getByRole('alert').filter({ hasText: 'web1' }).first().waitFor()
    await page.getByRole('heading', { name: 'Receipt' }).waitFor()
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
    assert.equal((await fetch(`${demo.url}/api/v1/nothing`, { headers: { accept: 'text/html' } })).headers.get('content-type'), 'application/problem+json')
  })
})
