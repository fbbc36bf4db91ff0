import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, test } from 'node:test'
import type { Page } from 'playwright-core'
import { faultless, faultlessInEveryLook } from './axe.ts'
import { openBrowser, skip } from './browser.ts'
import { startDemo, type Demo } from './demo.ts'

/** Sums up what moved by itself on the page: https://web.dev/articles/cls. */
const watchShifts = `window.shifted = []; new PerformanceObserver((list) => { for (const entry of list.getEntries()) if (!entry.hadRecentInput) shifted.push([entry.value, document.querySelector('#receipt') !== null ? 'receipt' : 'live', ...entry.sources.map(({ node }) => (node?.nodeType === 1 ? node : node?.parentElement)?.outerHTML.slice(0, 120) ?? '')]) }).observe({ type: 'layout-shift', buffered: true })`

const server = `const http = require('node:http')
const { readFileSync } = require('node:fs')
const health = Number(readFileSync('health.txt', 'utf8'))
const server = http.createServer((request, response) => {
  if (request.url === '/healthz') response.statusCode = health
  response.end(health === 200 ? 'ok' : 'no database')
})
server.keepAliveTimeout = 65_000
setTimeout(() => server.listen(process.env.PORT), Number(readFileSync('boot.txt', 'utf8')))
process.on('SIGTERM', () => server.close(() => process.exit(0)))
`
const build = `const { readFileSync } = require('node:fs')
const [lines, every, code] = readFileSync('build.txt', 'utf8').split(' ').map(Number)
let line = 0
const timer = setInterval(() => {
  if (line++ < lines) return console.log('\\u001b[31mline ' + line + '\\u001b[0m and the rest of it')
  clearInterval(timer)
  if (code !== 0) console.error('no such module: nowhere')
  process.exit(code)
}, every)
`
/** What each revision changes, in files: the rest is as it was. */
const usual = { 'health.txt': '200', 'boot.txt': '0', 'build.txt': '3 1 0' }

test('the pages in every state of a deployment', { skip, timeout: 280_000 }, async (t) => {
  const repository = mkdtempSync(join(tmpdir(), 'dploy-states-'))
  let demo: Demo
  let browser: Awaited<ReturnType<typeof openBrowser>>
  let page: Page
  let good = 0
  const pages: Record<string, string> = {}
  before(async () => {
    writeFileSync(join(repository, 'server.js'), server)
    writeFileSync(join(repository, 'build.js'), build)
    writeFileSync(
      join(repository, 'dploy.yml'),
      `application: shop\nsource: { repository: . }\nbuild: { command: '${process.execPath} build.js' }\nservice: { command: '${process.execPath} server.js', port: 3000, health: { path: /healthz, timeout: 1500ms } }\nenvironments: { demo: { servers: [web1], strategy: { batch: 1, bake: 300ms } } }\n`,
    )
    git('init', '--quiet', '--initial-branch', 'main')
    commit('Sell things', usual)
    demo = await startDemo(3, repository)
    browser = await openBrowser()
    ;({ page } = await browser.open())
    await page.addInitScript(watchShifts)
    await demo.signIn(page)
    good = (await status()).wanted!.release
  })
  after(async () => {
    await browser?.[Symbol.asyncDispose]()
    await demo?.[Symbol.asyncDispose]()
    rmSync(repository, { recursive: true, force: true })
  })
  const params = { application: 'shop', environment: 'demo' }
  const status = () => demo.client.call('status', { params })

  await t.test(
    'a health check that answers 500: the cause, the server, the next step, and everything is back by itself',
    async () => {
      commit('Forget the database', { ...usual, 'health.txt': '500' })
      pages['rolled back'] = await deployByClicking('Forget the database')
      await page.getByText('rolled back', { exact: true }).first().waitFor()
      await page.getByRole('heading', { name: 'Receipt' }).waitFor()
      const alert = page.getByRole('alert').filter({ has: page.getByRole('button', { name: 'Log of web1' }) })
      const said = await alert.innerText()
      assert.match(said, /web1/)
      assert.match(said, /health|healthy/i)
      assert.match(said, /500/, 'what the health check answered')
      assert.match(said, /Next: \S+/)
      await alert.getByRole('button', { name: 'Log of web1' }).click()
      assert.equal(await page.getByLabel('Which server').inputValue(), 'web1')
      await page
        .getByRole('link', { name: /^Deploy \w+ again…/ })
        .first()
        .waitFor()
      assert.equal(await page.getByRole('row').filter({ hasText: 'switched' }).count(), 0)
      const now = await status()
      assert.deepEqual(
        now.servers.map(({ name, release, drifted }) => [name, release, drifted]),
        ['web1', 'web2', 'web3'].map((name) => [name, good, false]),
      )
      assert.equal(now.wanted!.release, good)
      await page.getByRole('link', { name: 'Overview' }).click()
      await page.getByText('healthy on 3 of 3').waitFor()
      await page.getByText('Sell things').first().waitFor()
      await page.getByText('rolled back').first().waitFor()
    },
  )

  await t.test('a build that fails: what it printed, and no server was touched', async () => {
    commit('Break the build', { ...usual, 'build.txt': '3 1 1' })
    pages.failed = await deployByClicking('Break the build')
    await page.getByText('failed', { exact: true }).first().waitFor()
    const alert = page.getByRole('alert').first()
    assert.match(await alert.innerText(), /build/i)
    assert.match(await alert.innerText(), /Next: \S+/)
    await page.getByText('no such module: nowhere').first().waitFor()
    assert.deepEqual(
      (await status()).servers.map(({ release }) => release),
      [good, good, good],
    )
  })

  await t.test('a deployment that goes on: colours, follow, search, cancel; nothing jumps', async () => {
    commit('Build for long', { ...usual, 'build.txt': '4000 5 0' })
    pages.cancelled = await deployByClicking('Build for long')
    const log = page.getByRole('log')
    await log
      .getByText(/^line 1\d\d$/)
      .first()
      .waitFor()
    // Lines come and go: all at one moment.
    const colours = await page.evaluate<string[]>(
      `[...[...document.querySelectorAll('.log-text')].find((line) => line.textContent.startsWith('line')).querySelectorAll('span')].map((span) => getComputedStyle(span).color)`,
    )
    assert.equal(new Set(colours).size, 2, `red and plain: ${colours.join(' and ')}`)
    for (const theme of ['light', 'dark'] as const) {
      await page.emulateMedia({ colorScheme: theme })
      await faultless(page, `live, ${theme}`)
    }
    await page.emulateMedia({ colorScheme: 'light' })
    const bottom = () => log.evaluate((box) => box.scrollHeight - box.scrollTop - box.clientHeight)
    const follow = page.getByRole('button', { name: /^Follow/ })
    assert.equal(await follow.getAttribute('aria-pressed'), 'true')
    assert.ok(Math.abs(await bottom()) < 30, 'it stands at the newest line')
    await log.hover()
    await page.mouse.wheel(0, -400)
    await page.locator('button[aria-pressed="false"]', { hasText: 'Follow' }).waitFor()
    const place = await log.evaluate((box) => box.scrollTop)
    const lines = () =>
      page
        .locator('.log header .number')
        .innerText()
        .then((text) => Number(/[\d,]+/.exec(text)![0].replaceAll(',', '')))
    const seen = await lines()
    for (const deadline = Date.now() + 15_000; (await lines()) < seen + 60;)
      assert.ok(Date.now() < deadline, 'lines go on')
    assert.equal(await log.evaluate((box) => box.scrollTop), place, 'who reads is not carried away')
    await follow.click()
    await page.locator('button[aria-pressed="true"]', { hasText: 'Following' }).waitFor()
    assert.ok(Math.abs(await bottom()) < 60)
    await page.getByRole('heading', { level: 1 }).click()
    await page.keyboard.press('/')
    await page.keyboard.type('line 7 ')
    await page.getByText('1 line', { exact: true }).waitFor()
    await page.getByLabel('Search the log').fill('the rest of it')
    await log.locator('mark').first().waitFor()
    await page.getByLabel('Search the log').fill('')
    await page.getByRole('button', { name: 'Cancel', exact: true }).click()
    await page.getByRole('alertdialog').getByText('No server has been switched').waitFor()
    await faultless(page, 'the question before it is cancelled')
    await page.getByRole('button', { name: 'Cancel the deployment' }).click()
    await page.getByText('cancelled', { exact: true }).first().waitFor()
    assert.deepEqual(
      (await status()).servers.map(({ release }) => release),
      [good, good, good],
    )
  })

  await t.test('a deployment that is rolled back in the middle, by r', async () => {
    commit('Boot slowly', { ...usual, 'boot.txt': '900' })
    pages['rolled back by hand'] = await deployByClicking('Boot slowly')
    await page.getByRole('row').filter({ hasText: 'switched' }).first().waitFor()
    await page.keyboard.press('r')
    await page.getByRole('alertdialog').getByText(`go back to release ${good}`).waitFor()
    await page.getByRole('alertdialog').getByRole('button', { name: 'Roll back' }).click()
    await page.getByText('rolled back', { exact: true }).first().waitFor()
    assert.deepEqual(
      (await status()).servers.map(({ release }) => release),
      [good, good, good],
    )
  })

  await t.test('a deployment to its end: nothing on its page jumps, and r asks whether to go back', async (one) => {
    commit('Sell more', usual)
    pages.succeeded = await deployByClicking('Sell more')
    await page.evaluate('window.shifted = []')
    await page.getByText('succeeded', { exact: true }).first().waitFor()
    await page.getByRole('heading', { name: 'Receipt' }).waitFor()
    // A receipt that tells of requests that somebody noticed is longer than the room that is kept for it.
    const noticed = await page
      .locator('#receipt .facts div')
      .filter({ has: page.getByText('noticed', { exact: true }) })
      .locator('dd')
      .innerText()
    const shifted = (await page.evaluate<[number, ...string[]][]>('window.shifted')).filter(
      ([, when]) => noticed === '0' || when === 'live',
    )
    const sum = shifted.reduce((all, [value]) => all + value, 0)
    one.diagnostic(`layout shift: ${sum.toFixed(3)}, ${noticed} noticed`)
    assert.ok(
      sum < 0.05,
      JSON.stringify(
        shifted.filter(([value]) => value > 0.005),
        null,
        1,
      ),
    )
    await page.keyboard.press('r')
    await page.getByRole('alertdialog').getByText(`go back to release ${good}`).waitFor()
    await faultless(page, 'the question before it is rolled back')
    await page.keyboard.press('Escape')
    await page.getByRole('alertdialog').waitFor({ state: 'detached' })
  })

  await t.test('/ searches on every page that has something to search', async () => {
    for (const [path, label] of [
      ['servers', 'Search servers'],
      ['deploy', 'Search branches, tags and commits'],
      ['logs', 'Search the log'],
    ] as const) {
      await page.goto(`${demo.url}/environments/shop/demo/${path}`)
      await page.getByLabel(label).waitFor()
      await page.keyboard.press('/')
      assert.equal(await page.evaluate('document.activeElement.getAttribute("aria-label")'), label)
      assert.equal(await page.getByLabel(label).inputValue(), '')
    }
  })

  await t.test('no fault that axe finds, light and dark, and everything fits a phone', async () => {
    const { page: own, context } = await browser.open()
    await demo.signIn(own)
    for (const [state, path] of Object.entries(pages)) {
      await own.goto(demo.url + path)
      if (state !== 'failed' && state !== 'cancelled') await own.getByRole('heading', { name: 'Receipt' }).waitFor()
      await own
        .getByRole('log')
        .getByText(/^(Succeeded|Failed|Cancelled|Rolled back)/)
        .first()
        .waitFor()
      await faultlessInEveryLook(own, state)
    }
    await own.keyboard.press('Control+k')
    await own.getByLabel('Where to?').waitFor()
    await faultlessInEveryLook(own, 'palette')
    await own.keyboard.press('Escape')
    await own.getByRole('dialog').waitFor({ state: 'detached' })
    await own.keyboard.press('?')
    await own.getByRole('dialog').getByText('go anywhere').waitFor()
    await faultlessInEveryLook(own, 'keys')
    await own.goto(`${demo.url}/environments/shop/demo/releases`)
    await own.getByLabel(`Compare release ${good}`, { exact: true }).check()
    await own
      .getByLabel(/^Compare release/)
      .first()
      .check()
    await own.getByRole('button', { name: 'Compare', exact: true }).click()
    await own.getByRole('dialog').getByText('Sell more').first().waitFor()
    await faultlessInEveryLook(own, 'compare')
    await own.goto(`${demo.url}/api`)
    await faultlessInEveryLook(own, 'the reference of the API')
    await context.close()
  })

  await t.test('none of it says an error', () => assert.deepEqual(browser.trouble, []))

  /** Answers the path of the deployment's page. */
  async function deployByClicking(subject: string): Promise<string> {
    await page.getByRole('link', { name: 'Overview' }).click()
    await page.getByRole('link', { name: 'Deploy shop to demo' }).click()
    await page.getByText(subject).first().waitFor()
    await page.getByRole('button', { name: /^Deploy \w+ to demo/ }).click()
    await page.getByRole('heading', { name: /^Deployment \d+/ }).waitFor()
    return new URL(page.url()).pathname
  }

  function git(...args: string[]): void {
    execFileSync('git', [
      '-C',
      repository,
      '-c',
      'user.name=Anna',
      '-c',
      'user.email=anna@localhost',
      '-c',
      'commit.gpgsign=false',
      '-c',
      'core.hooksPath=/dev/null',
      ...args,
    ])
  }
  function commit(message: string, files: Record<string, string>): void {
    mkdirSync(repository, { recursive: true })
    for (const [name, text] of Object.entries({ ...files, 'message.txt': message }))
      writeFileSync(join(repository, name), text)
    git('add', '--all')
    git('commit', '--quiet', '--message', message)
  }
})
