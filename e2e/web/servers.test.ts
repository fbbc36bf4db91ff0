import assert from 'node:assert/strict'
import { existsSync, readFileSync } from 'node:fs'
import { after, before, test } from 'node:test'
import { setTimeout as delay } from 'node:timers/promises'
import type { Page } from 'playwright-core'
import { faultlessInEveryLook } from './axe.ts'
import { openBrowser, skip as noBrowser } from './browser.ts'
import { startDemo, type Demo } from './demo.ts'

const skip = noBrowser || (existsSync('/usr/bin/script') ? false : 'needs script(1) of util-linux')

test('servers on the pages', { skip, timeout: 180_000 }, async (t) => {
  let demo: Demo
  let browser: Awaited<ReturnType<typeof openBrowser>>
  let page: Page
  before(async () => {
    demo = await startDemo(3)
    browser = await openBrowser()
    ;({ page } = await browser.open())
    await demo.signIn(page)
  })
  after(async () => {
    await browser?.[Symbol.asyncDispose]()
    await demo?.[Symbol.asyncDispose]()
  })
  const terminal = (name: string, of = page) => of.getByRole('region', { name: `Terminal on ${name}` })
  const shows = (text: string | RegExp, of = page) => of.locator('.xterm-rows').getByText(text).first().waitFor()
  const type = async (text: string, of = page) => (await of.keyboard.type(text), of.keyboard.press('Enter'))

  await t.test(
    'a terminal opens from the row of a server: colours, its size as the window changes, Ctrl-C',
    async () => {
      await page.goto(`${demo.url}/environments/hello/demo/servers`)
      await page.getByRole('link', { name: 'Terminal on web2' }).click()
      await terminal('web2').getByText('open', { exact: true }).waitFor()
      assert.equal(
        await page
          .getByRole('textbox', { name: 'Terminal on web2' })
          .evaluate('document.activeElement.getAttribute("aria-label")'),
        'Terminal on web2',
      )
      await shows(/[#$] ?$/)
      await type(
        'echo "<$DPLOY_SERVER>"; tput colors; printf "\\033[31mr%s\\033[0m \\033[38;2;10;120;200mtr%s\\033[0m\\n" ed ue',
      )
      await shows('<web2>')
      await shows('256')
      const red = page.locator('.xterm-rows span', { hasText: /^red$/ })
      await red.waitFor()
      assert.notEqual(
        await red.evaluate('getComputedStyle(document.querySelector(".xterm-rows")).color'),
        await red.evaluate(
          (element) =>
            (globalThis as unknown as { getComputedStyle(element: unknown): { color: string } }).getComputedStyle(
              element,
            ).color,
        ),
      )
      assert.match(
        (await page.locator('.xterm-rows span', { hasText: /^true$/ }).getAttribute('style')) ?? '',
        /color: rgb\(\d+, \d+, \d+\)/,
      )
      await type('stty size | sed s/^/size:/')
      await shows(/size:\d+ \d+/)
      const before = await page
        .locator('.xterm-rows')
        .getByText(/size:\d+ \d+/)
        .first()
        .innerText()
      await page.setViewportSize({ width: 900, height: 700 })
      await delay(300)
      await type('clear; stty size | sed s/^/now:/')
      await shows(/now:\d+ \d+/)
      const after = await page
        .locator('.xterm-rows')
        .getByText(/now:\d+ \d+/)
        .first()
        .innerText()
      assert.ok(Number(after.split(' ')[1]) < Number(before.split(' ')[1]), `${before} then ${after}`)
      await page.setViewportSize({ width: 1280, height: 860 })
      await type('sleep 600 || echo "ended-$?"')
      await shows('sleep 600')
      await delay(300)
      await page.keyboard.press('Control+c')
      await shows('^C')
    },
  )

  await t.test('a paste of several lines arrives whole, and keys lead out of it', async () => {
    await type('clear; stty -echo; cat > pasted.txt; stty echo; wc -l < pasted.txt | sed s/^/lines:/')
    await delay(300)
    const lines = Array.from({ length: 2_000 }, (_, index) => `line ${index} äöü €`).join('\n')
    await page.getByRole('textbox', { name: 'Terminal on web2' }).evaluate((element, text) => {
      const data = new DataTransfer()
      data.setData('text/plain', text)
      element.dispatchEvent(new ClipboardEvent('paste', { clipboardData: data, bubbles: true, cancelable: true }))
    }, `${lines}\n`)
    await delay(300)
    await page.keyboard.press('Control+d')
    await shows('lines:2000')
    await page.keyboard.press('Control+k')
    assert.equal(await page.getByRole('dialog').count(), 0, "Ctrl-K is the shell's")
    await page.keyboard.press('Control+Shift+X')
    assert.equal(await page.evaluate('document.activeElement.textContent'), 'End')
  })

  await t.test('closing it ends the shell on the server, and the record says so', async () => {
    await page.getByRole('textbox', { name: 'Terminal on web2' }).focus()
    await type('clear; echo "pid:$$:"')
    await shows(/pid:\d+:/)
    const pid = /pid:(\d+):/.exec(await page.locator('.xterm-rows').innerText())![1]!
    assert.ok(existsSync(`/proc/${pid}`))
    await page.getByRole('button', { name: 'End' }).click()
    await terminal('web2').getByText('ended', { exact: true }).waitFor()
    await gone(pid)
    await page.getByRole('button', { name: 'Open again' }).click()
    await shows(/[#$] ?$/)
    await type('exit 3')
    await terminal('web2').getByText('ended: code 3').waitFor()
    const { runs } = await demo.client.call('runs', { params: demo.params, query: {} })
    assert.deepEqual(
      runs.filter(({ kind }) => kind === 'shell').map(({ outcomes }) => outcomes[0]?.code),
      [3, null],
    )
  })

  await t.test('from the command palette; leaving the page ends it too; a lost connection says so', async () => {
    await page.keyboard.press('Control+k')
    await page.getByLabel('Where to?').fill('Terminal on web3')
    await page.keyboard.press('Enter')
    await shows(/[#$] ?$/)
    await type('echo "pid:$$:"; sleep 600')
    await shows(/pid:\d+:/)
    const pid = /pid:(\d+):/.exec(await page.locator('.xterm-rows').innerText())![1]!
    await page.context().setOffline(true)
    await type('a')
    await page.getByRole('alert').getByText('The connection to the shell is lost').waitFor()
    await page.context().setOffline(false)
    await page.getByRole('link', { name: 'Servers', exact: true }).click()
    await page.getByRole('table', { name: 'Servers' }).waitFor()
    await gone(pid)
  })

  await t.test(
    'each server says whether it is well and how busy it is; its drawer has history, an hour of load and what it prints',
    async () => {
      await page.goto(`${demo.url}/environments/hello/demo/servers`)
      const row = page.getByRole('row').filter({ hasText: 'web2' })
      await row.getByText('healthy', { exact: true }).waitFor()
      await row
        .getByText(/^\d+ %$/)
        .first()
        .waitFor()
      await row.getByText(/^\d[\d.]* [KMGT]?B$/).waitFor()
      await row.getByRole('button', { name: 'web2' }).click()
      const drawer = page.getByRole('dialog', { name: 'web2' })
      await drawer.getByRole('link', { name: '2', exact: true }).waitFor()
      assert.deepEqual(
        await drawer
          .getByRole('region', { name: 'Deployments to this server' })
          .locator('tbody tr td:first-child')
          .allInnerTexts(),
        ['2 deploy', '1 deploy'],
      )
      await drawer.getByText(/^Processors \d+ %$/).waitFor()
      await drawer.locator('.log-line').first().waitFor()
      await drawer.getByRole('button', { name: 'Drain' }).click()
      await page.getByRole('button', { name: 'Drain web2' }).click()
      await drawer.getByText('out of traffic').waitFor()
      await drawer.getByRole('button', { name: 'Make ready' }).click()
      await drawer.getByText('serves', { exact: true }).waitFor()
      await page.reload()
      await drawer.waitFor()
      await page.keyboard.press('Escape')
      await drawer.waitFor({ state: 'detached' })
    },
  )

  await t.test('they are grouped by a tag, picked by their state, and cells where one asks for them', async () => {
    await page.getByLabel('Group by').selectOption('zone')
    await page.getByRole('table', { name: 'Servers with zone=a' }).waitFor()
    assert.equal(await page.getByRole('table', { name: 'Servers with zone=a' }).getByRole('row').count(), 3)
    await page.getByRole('button', { name: 'Cells' }).click()
    const cells = page.getByRole('region', { name: 'Servers with zone=a' })
    await cells.getByRole('button', { name: 'web1: serves' }).focus()
    await page.keyboard.press('ArrowRight')
    await page.keyboard.press('Enter')
    await page.getByRole('dialog', { name: 'web3' }).waitFor()
    await page.keyboard.press('Escape')
    await page.getByRole('group', { name: 'Which state' }).getByRole('button', { name: 'serves 3' }).click()
    assert.equal(await page.locator('.server-tile').count(), 3)
  })

  await t.test('a service that stops answering its health check is told with what the check found', async () => {
    const { servers } = await demo.client.call('status', { params: demo.params })
    const [pid] = servers.find(({ name }) => name === 'web3')!.service!.pids
    process.kill(pid!, 'SIGSTOP')
    try {
      await page.goto(`${demo.url}/environments/hello/demo/servers`)
      await page
        .getByRole('row')
        .filter({ hasText: 'web3' })
        .getByText(/not healthy|down for the balancer/)
        .first()
        .waitFor()
      await page.getByRole('button', { name: 'web3' }).click()
      await page.getByRole('dialog', { name: 'web3' }).getByRole('alert').waitFor()
    } finally {
      process.kill(pid!, 'SIGCONT')
    }
    await page.getByRole('dialog', { name: 'web3' }).getByText('serves', { exact: true }).waitFor()
  })

  await t.test(
    'a release says where it is ready to go back to and what the others lack, and the button goes there all the same',
    async () => {
      const line = 'rm -rf ../1 ../../.dploy/releases/1.json'
      for await (const event of demo.client.stream('exec', {
        params: demo.params,
        body: { command: { line }, on: { servers: ['web3'] } },
      }))
        if (event.kind === 'ended') assert.equal(event.outcome.code, 0)
      await page.goto(`${demo.url}/environments/hello/demo/releases`)
      const row = page.getByRole('row').filter({ hasText: 'Say hello' })
      await row.getByText('on 2 of 3').waitFor()
      await row.getByText(/^web3 lacks \d+ B$/).waitFor()
      await page.getByRole('row').filter({ hasText: 'Greet differently' }).getByText('on all 3 servers').waitFor()
      await row.getByRole('button', { name: 'Roll back to release 1' }).click()
      await page
        .getByText(/web3 does not keep release 1, and is sent \d+ B first, before anything switches\./)
        .waitFor()
      await page.getByRole('alertdialog').getByRole('button', { name: 'Roll back to release 1' }).click()
      await page.getByRole('heading', { name: /^Deployment 3/ }).waitFor()
      await page.getByText('succeeded', { exact: true }).first().waitFor()
      await page.goto(`${demo.url}/environments/hello/demo/releases`)
      await row.getByText('on all 3 servers').waitFor()
      await row.getByText('runs now').waitFor()
    },
  )

  await t.test('a server is added by a pasted line or over ssh', async () => {
    await page.goto(`${demo.url}/environments/hello/demo/servers`)
    await page.getByRole('button', { name: 'Add a server…' }).click()
    await page.getByLabel('Its name').fill('web9')
    await page.getByLabel('How your ssh reaches it').fill('deploy@10.0.0.9')
    await page
      .getByRole('group', { name: 'The line that installs over ssh' })
      .getByText(`dploy --server ${demo.url} server add web9 --ssh deploy@10.0.0.9 --environment demo`)
      .waitFor()
    await page.getByRole('button', { name: 'Show the line' }).click()
    await page.getByText('waiting for it…').waitFor()
    await page.keyboard.press('Escape')
  })

  await t.test('nothing on them is what axe finds fault with, light and dark, nor wider than a phone', async () => {
    const { page: own, context } = await browser.open()
    await demo.signIn(own)
    await own.goto(`${demo.url}/environments/hello/demo/terminal/web1`)
    await shows(/[#$] ?$/, own)
    await type('printf "\\033[33myellow\\033[0m\\n"', own)
    await own.locator('.xterm-rows span', { hasText: /^yellow$/ }).waitFor()
    await faultlessInEveryLook(own, 'terminal')
    await own.getByRole('button', { name: 'Screen reader' }).click()
    await faultlessInEveryLook(own, 'terminal for a screen reader')
    await own.goto(`${demo.url}/environments/hello/demo/servers`)
    await own.getByRole('row').filter({ hasText: 'web1' }).getByText('healthy', { exact: true }).waitFor()
    await faultlessInEveryLook(own, 'servers')
    await own.getByRole('button', { name: 'Add a server…' }).click()
    await faultlessInEveryLook(own, 'add a server')
    await own.keyboard.press('Escape')
    await own.getByRole('button', { name: 'web1', exact: true }).click()
    await own
      .getByRole('dialog', { name: 'web1' })
      .getByText(/^Processors/)
      .waitFor()
    await faultlessInEveryLook(own, 'server')
    await own.keyboard.press('Escape')
    await own.getByRole('button', { name: 'Cells' }).click()
    await faultlessInEveryLook(own, 'servers as cells')
    await own.goto(`${demo.url}/environments/hello/demo/releases`)
    await own
      .getByText(/^on all 3 servers$/)
      .first()
      .waitFor()
    await faultlessInEveryLook(own, 'releases')
    await context.close()
  })

  await t.test('they break none of the rules that forbid inline styles and scripts', () =>
    assert.deepEqual(browser.trouble, []),
  )
})

/** Waits until a process has ended. */
async function gone(pid: string): Promise<void> {
  const runs = () => existsSync(`/proc/${pid}`) && !/^State:\s+Z/m.test(readFileSync(`/proc/${pid}/status`, 'utf8'))
  for (const deadline = Date.now() + 15_000; runs(); await delay(50))
    assert.ok(Date.now() < deadline, 'the shell on the server still runs')
}
