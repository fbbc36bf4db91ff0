import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, test } from 'node:test'
import type { Page } from 'playwright-core'
import { openBrowser, skip } from './browser.ts'
import { startDemo, type Demo } from './demo.ts'
import { faultless } from './axe.ts'

const params = { application: 'shop', environment: 'demo' }

/** Answers as mode.txt says: `bad` fails for a while, soon after it was healthy for the first time. */
const program = `const { readFileSync } = require('node:fs')
const mode = readFileSync(__dirname + '/mode.txt', 'utf8').trim()
let healthy = 0
const server = require('node:http').createServer((request, response) => {
  healthy ||= Date.now()
  const since = Date.now() - healthy
  response.statusCode = mode === 'bad' && since > 60 && since < 500 ? 500 : 200
  response.end('ok')
})
server.keepAliveTimeout = 75_000
process.on('SIGTERM', () => server.close(() => process.exit(0)))
server.listen(process.env.PORT)
`
const config = `# The shop of the tests.
application: shop
service: { command: '${process.execPath} server.js', port: 3000 }
variables:
  GREETING: hello
environments:
  demo:
    strategy: { kind: all-at-once, bake: 500ms }
`

test('what an environment is set to, and why something was noticed, on the pages', { skip, timeout: 200_000 }, async (t) => {
  const repository = mkdtempSync(join(tmpdir(), 'dploy-settings-'))
  let demo: Demo
  let browser: Awaited<ReturnType<typeof openBrowser>>
  let page: Page
  before(async () => {
    for (const [name, text] of [['server.js', program], ['mode.txt', 'good\n'], ['dploy.yml', config]] as const) writeFileSync(join(repository, name), text)
    git('init', '--quiet', '--initial-branch', 'main')
    commit('Open the shop')
    demo = await startDemo(2, repository)
    browser = await openBrowser()
    ;({ page } = await browser.open())
    await demo.signIn(page)
  })
  after(async () => {
    await browser?.[Symbol.asyncDispose]()
    await demo?.[Symbol.asyncDispose]()
    rmSync(repository, { recursive: true, force: true })
  })

  await t.test('each noticed request is told with its cause, and the cause with what to change', async () => {
    writeFileSync(join(repository, 'mode.txt'), 'bad\n')
    commit('Answer before it is ready')
    const { number } = await demo.client.call('deploy', { params, body: {} })
    await page.goto(`${demo.url}/deployments/${number}`)
    await page.getByRole('heading', { name: 'Receipt' }).waitFor()
    const { receipt } = await demo.client.call('deployment', { params: { number } })
    const [cause] = receipt!.causes
    assert.ok(cause, 'the users of a shop that answers 500 notice')
    const told = page.getByRole('region', { name: 'Receipt' })
    await told.getByRole('heading', { name: 'Why it was noticed' }).waitFor()
    await told.getByText(cause.suggestion.text).waitFor()
    await told.getByRole('row').filter({ hasText: '500' }).first().getByRole('cell').last().filter({ hasText: /\w/ }).waitFor()
    await told.getByText(`dploy explain ${number}`).waitFor()
    await page.context().grantPermissions(['clipboard-read', 'clipboard-write'])
    await told.getByRole('button', { name: 'Share this receipt' }).click()
    assert.equal(await page.evaluate('navigator.clipboard.readText()'), `${demo.url}/deployments/${number}#receipt`)
    await faultless(page, 'receipt')
    await picture('receipt')
    await page.goto(`${demo.url}/deployments/${number}#receipt`)
    await page.getByRole('heading', { name: 'Receipt' }).waitFor()
  })

  await t.test('none of it says an error', () => assert.deepEqual(browser.trouble, []))

  /** For whoever wants to see them: PICTURES names a directory. */
  async function picture(name: string): Promise<void> {
    if (process.env.PICTURES) await page.screenshot({ path: join(process.env.PICTURES, `${name}.png`), fullPage: true })
  }
  function git(...args: string[]): void {
    execFileSync('git', ['-C', repository, '-c', 'user.name=Anna', '-c', 'user.email=anna@localhost', '-c', 'commit.gpgsign=false', '-c', 'core.hooksPath=/dev/null', ...args])
  }
  function commit(message: string): void {
    git('add', '--all')
    git('commit', '--quiet', '--message', message)
  }
})
