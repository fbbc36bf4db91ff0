import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, test } from 'node:test'
import { setTimeout as delay } from 'node:timers/promises'
import type { Page } from 'playwright-core'
import { parse, stringify } from 'yaml'
import type { ConfigInput } from '../../src/protocol/config/config.ts'
import { HttpReceiver } from '../notify/http-receiver.ts'
import { githubPush, sendAsGithub } from '../webhooks/sender.ts'
import { openBrowser, skip } from './browser.ts'
import { startDemo, type Demo } from './demo.ts'
import { faultless, faultlessInEveryLook } from './axe.ts'

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

test(
  'what an environment is set to, and why something was noticed, on the pages',
  { skip, timeout: 200_000 },
  async (t) => {
    const repository = mkdtempSync(join(tmpdir(), 'dploy-settings-'))
    let demo: Demo
    let browser: Awaited<ReturnType<typeof openBrowser>>
    let page: Page
    let receiver: HttpReceiver | null = null
    before(async () => {
      for (const [name, text] of [
        ['server.js', program],
        ['mode.txt', 'good\n'],
        ['dploy.yml', config],
      ] as const)
        writeFileSync(join(repository, name), text)
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
      await receiver?.[Symbol.asyncDispose]()
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
      await told
        .getByRole('row')
        .filter({ hasText: '500' })
        .first()
        .getByRole('cell')
        .last()
        .filter({ hasText: /\w/ })
        .waitFor()
      await told.getByText(`dploy explain ${number}`).waitFor()
      await page.context().grantPermissions(['clipboard-read', 'clipboard-write'])
      await told.getByRole('button', { name: 'Share this receipt' }).click()
      assert.equal(await page.evaluate('navigator.clipboard.readText()'), `${demo.url}/deployments/${number}#receipt`)
      await faultless(page, 'receipt')
      await picture('receipt')
      await page.goto(`${demo.url}/deployments/${number}#receipt`)
      await page.getByRole('heading', { name: 'Receipt' }).waitFor()
    })

    await t.test(
      'the settings show the dploy.yml that counts with what each line means, and what it leaves to the defaults',
      async () => {
        const { file } = await demo.client.call('settings', { params })
        const before = parse(file!.lines.map(({ text }) => text).join('\n')) as ConfigInput
        const own = before.environments.demo!
        receiver = await HttpReceiver.up()
        const now: ConfigInput = {
          ...before,
          secrets: ['DATABASE_URL', 'HOOK_KEY'],
          notify: [{ kind: 'webhook', url: `${receiver!.url}/told`, secret: 'HOOK_KEY' }],
          environments: { demo: { ...own, branch: 'main', badge: 'public', variables: { LOG_LEVEL: 'info' } } },
        }
        await demo.client.call('apply', { body: { text: stringify(now), base: repository } })
        await page.goto(`${demo.url}/environments/shop/demo/settings`)
        const lines = page.getByRole('region', { name: 'dploy.yml' })
        await lines
          .getByRole('listitem')
          .filter({ hasText: 'branch: main' })
          .getByText('Deployed when no revision is named')
          .waitFor()
        await page
          .getByRole('region', { name: 'Variables' })
          .getByRole('row')
          .filter({ hasText: 'GREETING' })
          .getByText('hello')
          .waitFor()
        const strategy = page.getByRole('region', { name: 'Strategy' })
        await strategy.getByRole('row').filter({ hasText: 'strategy.pause_limit' }).getByText('1h').waitFor()
        await strategy.getByRole('row').filter({ hasText: 'timeouts.drain' }).getByText('by default').waitFor()
        await page.getByRole('img', { name: 'What shop demo runs' }).waitFor()
        assert.ok(
          await page
            .getByRole('img', { name: 'What shop demo runs' })
            .evaluate((image) => (image as unknown as { naturalWidth: number }).naturalWidth > 40),
        )
      },
    )

    await t.test('a secret that dploy.yml names and nobody set is offered, and is set', async () => {
      const secrets = page.getByRole('region', { name: 'Secrets' })
      await secrets.getByText('2 that are not set').waitFor()
      await secrets.getByRole('button', { name: 'HOOK_KEY' }).click()
      await page.keyboard.type('a key of sixteen letters')
      await secrets.getByRole('button', { name: 'Set secret' }).click()
      await secrets.getByText('one that is not set').waitFor()
    })

    await t.test('a test reaches who is to be told, or the page says why not', async () => {
      const told = page.getByRole('region', { name: 'Who is told' })
      await told.getByRole('button', { name: /^Send a test/ }).click()
      await told.getByText('works', { exact: true }).waitFor()
      assert.ok(receiver!.received.some(({ path }) => path === '/told'))
      receiver!.answers.push({ status: 410 })
      await told.getByRole('button', { name: /^Send a test/ }).click()
      await page.getByText(/410/).first().waitFor()
    })

    await t.test('the balancer is tested by a click', async () => {
      const balancer = page.getByRole('region', { name: 'Balancer and servers' })
      await balancer.getByRole('button', { name: 'Test now' }).click()
      await balancer
        .getByText(/The balancer and 2 servers answer|Next:/)
        .first()
        .waitFor()
    })

    await t.test('what a push would start is rehearsed, and what came is delivered once more', async () => {
      const { webhook, secret } = await demo.client.call('addWebhook', {
        body: { service: 'github', application: 'shop' },
      })
      const commit = git('rev-parse', 'HEAD')
      assert.equal(
        (
          await sendAsGithub(
            `${demo.url}/api/v1/webhooks/${webhook.id}/deliveries`,
            secret,
            githubPush('https://github.com/example/shop.git', 'main', commit),
          )
        ).status,
        202,
      )
      await page.goto(`${demo.url}/settings/webhooks`)
      await page
        .getByRole('link', { name: /^deployment \d+$/ })
        .first()
        .waitFor()
      await page.getByRole('button', { name: 'Deliveries' }).click()
      const rehearsal = page.getByRole('form', { name: 'Rehearse a push' })
      await rehearsal.getByRole('button', { name: 'Rehearse' }).click()
      await rehearsal.getByText('would be deployed').waitFor()
      await rehearsal.getByLabel('What would a push start to').fill('other')
      await rehearsal.getByRole('button', { name: 'Rehearse' }).click()
      await rehearsal.getByText('stays as it is').waitFor()
      await page.getByRole('button', { name: 'Redeliver' }).click()
      await page.getByRole('alertdialog').getByRole('button', { name: 'Redeliver', exact: true }).click()
      await page
        .getByText(/again, by/)
        .first()
        .waitFor()
      for (const deadline = Date.now() + 30_000; ; await delay(100)) {
        const [newest, other] = (await demo.client.call('deliveries', { params: { webhook: webhook.id }, query: {} }))
          .deliveries
        const [first, second] = [other!.results[0]?.deployment, newest!.results[0]?.deployment]
        if (first && second) {
          assert.ok(second > first, 'it starts a deployment of its own')
          break
        }
        assert.ok(Date.now() < deadline, JSON.stringify([newest, other]))
      }
      await faultless(page, 'webhooks')
    })

    await t.test(
      'while it goes on: a pause is taken back, r rolls back, and the log shows one hook alone and is read whole',
      async () => {
        const { file } = await demo.client.call('settings', { params })
        const before = parse(file!.lines.map(({ text }) => text).join('\n')) as ConfigInput
        const slow: ConfigInput = {
          ...before,
          hooks: { after_stage: 'echo prepared' },
          secrets: [],
          notify: [],
          environments: {
            demo: {
              ...before.environments.demo!,
              strategy: { kind: 'rolling', batch: 1, bake_batch: '6s', bake: '0s' },
            },
          },
        }
        await demo.client.call('apply', { body: { text: stringify(slow), base: repository } })
        writeFileSync(join(repository, 'mode.txt'), 'good\n')
        commit('Be good again')
        const { number } = await demo.client.call('deploy', { params, body: { wait: true } })
        await page.goto(`${demo.url}/deployments/${number}`)
        await page.getByRole('button', { name: 'Pause' }).click()
        await page.getByRole('button', { name: 'Take the pause back' }).click()
        await page.getByRole('button', { name: 'Pause' }).waitFor()
        await page.getByRole('button', { name: 'Roll back', exact: true }).waitFor()
        await page.keyboard.press('r')
        await page.getByRole('alertdialog').getByRole('button', { name: 'Roll back', exact: true }).click()
        await page.getByRole('heading', { name: 'Receipt' }).waitFor()
        await page.getByText('p99').waitFor()
        await page.getByLabel('Which lines').selectOption({ label: 'after stage' })
        await page.getByText('2 lines', { exact: true }).waitFor()
        assert.equal(await page.getByRole('log').getByText('prepared').count(), 2)
        const downloading = page.waitForEvent('download')
        await page.getByRole('button', { name: 'Download the whole' }).click()
        const whole = readFileSync(await (await downloading).path(), 'utf8')
        assert.match(whole, /web1 \[after_stage\] prepared/)
        assert.match(whole, /- staging/)
        await picture('rolled-back')
      },
    )

    await t.test('the settings have no fault that axe finds, light and dark, and fit a phone', async () => {
      for (const path of ['/environments/shop/demo/settings', '/deployments/3']) {
        await page.goto(demo.url + path)
        await page
          .getByRole('heading', { name: path.endsWith('settings') ? 'Strategy and time limits' : 'Receipt' })
          .waitFor()
        await faultlessInEveryLook(page, path)
      }
    })

    await t.test('none of it says an error', () => assert.deepEqual(browser.trouble, []))

    /** For whoever wants to see them: PICTURES names a directory. */
    async function picture(name: string): Promise<void> {
      if (process.env.PICTURES)
        await page.screenshot({ path: join(process.env.PICTURES, `${name}.png`), fullPage: true })
    }
    function git(...args: string[]): string {
      return execFileSync(
        'git',
        [
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
        ],
        { encoding: 'utf8' },
      ).trim()
    }
    function commit(message: string): void {
      git('add', '--all')
      git('commit', '--quiet', '--message', message)
    }
  },
)
