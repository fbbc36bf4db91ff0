import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { after, before, test } from 'node:test'
import type { Page } from 'playwright-core'
import { Plane } from '../api/plane.ts'
import { program } from '../commands/team.ts'
import { faultless, faultlessInEveryLook } from './axe.ts'
import { openBrowser, skip } from './browser.ts'

test('the first minutes of an administrator', { skip, timeout: 150_000 }, async (t) => {
  let plane: Plane
  let browser: Awaited<ReturnType<typeof openBrowser>>
  let page: Page
  let line = ''
  before(async () => {
    plane = await Plane.up()
    browser = await openBrowser()
    ;({ page } = await browser.open())
  })
  after(async () => {
    await browser?.[Symbol.asyncDispose]()
    await plane?.[Symbol.asyncDispose]()
  })

  await t.test(
    'whoever comes by the link of the first start gets a token by a click, in the line that uses it',
    async () => {
      await page.goto(plane.said.setup!, { timeout: 90_000 })
      await page.getByRole('heading', { name: 'Become the first administrator' }).waitFor()
      await faultlessInEveryLook(page, 'the first start')
      await page.getByLabel('Name').fill('Anna')
      await page.getByLabel('E-mail address').fill('anna@example.org')
      await page.getByLabel('Password').fill('correct horse battery')
      await page.getByRole('button', { name: 'Begin' }).click()
      await page.getByRole('heading', { name: 'Connect your command line' }).waitFor()
      await page.getByRole('button', { name: 'Make an API token' }).click()
      line = await page.getByText(/^export DPLOY_URL=/).innerText()
      const token = /DPLOY_TOKEN=(\S+)/.exec(line)![1]!
      assert.equal(
        (await plane.as(token).call('session')).person !== null,
        true,
        'it is a person’s token, so that it may approve',
      )
      await page.getByRole('button', { name: 'Make a join token' }).click()
      await page.getByText(/install\.sh \| sudo sh -s -- --token [\w-]{20,} --name web1/).waitFor()
    },
  )

  for (const [theme, width] of [
    ['light', 1280],
    ['dark', 390],
  ] as const) {
    await t.test(`the guide has no fault that axe finds, ${theme}, ${width} wide`, async () => {
      await page.emulateMedia({ colorScheme: theme })
      await page.setViewportSize({ width, height: 860 })
      await faultless(page, 'first steps')
      assert.deepEqual(
        await page.evaluate(
          '[...document.querySelectorAll("main *")].filter((one) => one.getBoundingClientRect().right > innerWidth + 1 && !one.closest("code")).map((one) => one.outerHTML.slice(0, 120))',
        ),
        [],
      )
      assert.equal(await page.evaluate('document.documentElement.scrollWidth > innerWidth'), false)
      if (process.env.PICTURES)
        await page.screenshot({ path: join(process.env.PICTURES, `first-steps-${theme}.png`), fullPage: true })
    })
  }

  await t.test('with that line the command line tells of an application, and the page goes on by itself', async () => {
    const directory = join(plane.directory, 'shop')
    mkdirSync(directory)
    writeFileSync(
      join(directory, 'dploy.yml'),
      'application: shop\nsource: https://git.example.invalid/shop.git\nservice: { command: node server.js, port: 3000 }\nenvironments: { production: { servers: [web1] } }\n',
    )
    const environment = Object.fromEntries([...line.matchAll(/(\w+)=(\S+)/g)].map(([, name, value]) => [name, value]))
    const child = spawn(process.execPath, [program, 'settings', 'production'], {
      cwd: directory,
      env: { ...process.env, ...environment },
      stdio: 'ignore',
    })
    await once(child, 'exit')
    await page.getByRole('link', { name: 'production', exact: true }).waitFor()
    await page.getByRole('heading', { name: 'Overview' }).waitFor()
  })

  await t.test('who may do nothing yet is told whom to ask', async () => {
    const { link } = await plane.client.call('addPerson', {
      body: { email: 'vera@example.org', name: 'Vera', grants: [] },
    })
    const { page: own } = await browser.open()
    await own.goto(link.startsWith('http') ? link : plane.url + link)
    await own.getByLabel('Password').waitFor()
    await faultlessInEveryLook(own, 'an invitation')
    await own.getByLabel('Password').fill('correct horse battery')
    await own.getByRole('button', { name: 'Sign in' }).click()
    await own.getByRole('heading', { name: 'There is nothing here for you yet' }).waitFor()
    await faultless(own, 'nothing yet')
    assert.deepEqual(browser.trouble, [])
  })
})
