import assert from 'node:assert/strict'
import { after, before, test } from 'node:test'
import type { Page } from 'playwright-core'
import { Plane } from '../api/plane.ts'
import { openBrowser, skip } from './browser.ts'

const anna = { name: 'Anna', email: 'anna@example.org', password: 'correct horse battery' }

test('signing in on the pages', { skip, timeout: 180_000 }, async (t) => {
  let plane: Plane
  let browser: Awaited<ReturnType<typeof openBrowser>>
  let page: Page
  before(async () => {
    plane = await Plane.up()
    browser = await openBrowser()
    ;({ page } = await browser.open())
  })
  after(async () => {
    await browser?.[Symbol.asyncDispose]()
    await plane?.[Symbol.asyncDispose]()
  })
  const inside = (on: Page) => on.getByRole('button', { name: /^Signed in as/ }).waitFor()
  const signIn = async (email: string, password: string) => {
    await page.getByLabel('E-mail address').fill(email)
    await page.getByLabel('Password').fill(password)
    await page.getByRole('button', { name: 'Sign in' }).click()
  }

  await t.test('the link of the first start makes the administrator, and leaves the address', async () => {
    await page.goto(plane.said.setup!, { timeout: 90_000 })
    await page.getByRole('heading', { name: 'Become the first administrator' }).waitFor()
    await page.getByLabel('Name').fill(anna.name)
    await page.getByLabel('E-mail address').fill(anna.email)
    await page.getByLabel('Password').fill(anna.password)
    await page.getByRole('button', { name: 'Begin' }).click()
    await inside(page)
    assert.equal(new URL(page.url()).hash, '')
    const [cookie] = await page.context().cookies()
    assert.deepEqual([cookie!.httpOnly, cookie!.sameSite], [true, 'Strict'])
  })

  await t.test('the session outlives a new tab; signing out ends it', async () => {
    const tab = await page.context().newPage()
    await tab.goto(plane.url)
    await inside(tab)
    await tab.close()
    await page.getByRole('button', { name: /^Signed in as/ }).click()
    await page.getByRole('menuitem', { name: 'Sign out' }).click()
    await page.getByRole('heading', { name: 'Sign in to dploy' }).waitFor()
    await page.reload()
    await page.getByRole('heading', { name: 'Sign in to dploy' }).waitFor()
  })

  await t.test(
    'what did not come, because the network changed while the page was loaded, is asked for again; then it says so',
    async () => {
      const { page: another, context } = await browser.open()
      const refuse = async (what: RegExp, atMost: number) => {
        let refused = 0
        await another.route(what, (route) => (refused++ < atMost ? route.abort('failed') : route.continue()))
        await another.goto(plane.url)
        return () => refused
      }
      await refuse(/\/assets\/main-.*\.js$/, 2)
      await another.getByRole('heading', { name: 'Sign in to dploy' }).waitFor()
      await another.unroute(/\/assets\/main-.*\.js$/)
      const asked = await refuse(/\/api\/v1\/session$/, 2)
      await another.getByRole('heading', { name: 'Sign in to dploy' }).waitFor()
      assert.equal(asked(), 3)
      await refuse(/\/assets\/main-.*\.js$/, Infinity)
      await another.getByText('This page could not be loaded: not all of it came. Load it again').waitFor()
      await another.unroute(/\/assets\/main-.*\.js$/)
      await another.getByRole('link', { name: 'Load it again' }).click()
      await another.getByRole('heading', { name: 'Sign in to dploy' }).waitFor()
      await context.close()
    },
  )

  await t.test(
    'a part of the pages that an upgrade took away: the page is loaded anew once, then says what it cannot show',
    async () => {
      await signIn(anna.email, anna.password)
      await inside(page)
      await page.route(/\/assets\/settings-page-/, (route) => route.fulfill({ status: 404 }))
      const loads: string[] = []
      page.on('request', (request) => request.isNavigationRequest() && loads.push(new URL(request.url()).pathname))
      await page.getByRole('link', { name: 'Settings' }).click()
      const fault = page.getByRole('main').getByRole('alert')
      await fault.getByText('This page cannot be shown: A part of this page could not be loaded').waitFor()
      assert.deepEqual(loads, ['/settings'])
      // The way out, and back: what stands around it works on.
      await page.getByRole('link', { name: 'Deployments' }).click()
      await page.getByRole('heading', { name: 'Deployments', level: 1 }).waitFor()
      assert.equal(await fault.count(), 0)
      await page.getByRole('link', { name: 'Settings' }).click()
      await page.unroute(/\/assets\/settings-page-/)
      await fault.getByRole('button', { name: 'Load it again' }).click()
      await page.getByRole('heading', { name: 'Settings', level: 1 }).waitFor()
      assert.deepEqual(loads, ['/settings', '/settings'])
      assert.ok(browser.trouble.splice(0).every((text) => /could not be loaded|dynamically imported/.test(text)))
      await page.goto(plane.url)
      await page.getByRole('button', { name: /^Signed in as/ }).click()
      await page.getByRole('menuitem', { name: 'Sign out' }).click()
    },
  )

  await t.test('a wrong password is told, a right one opens the pages', async () => {
    await signIn(anna.email, 'a wrong password')
    await page.getByText('Address or password is wrong').waitFor()
    await signIn(anna.email, anna.password)
    await inside(page)
  })

  await t.test('a used link says so', async () => {
    await page.getByRole('button', { name: /^Signed in as/ }).click()
    await page.getByRole('menuitem', { name: 'Sign out' }).click()
    await page.getByRole('heading', { name: 'Sign in to dploy' }).waitFor()
    await page.goto('about:blank')
    await page.goto(plane.said.setup!)
    await page.getByLabel('Name').fill('Eve')
    await page.getByLabel('E-mail address').fill('eve@example.org')
    await page.getByLabel('Password').fill(anna.password)
    await page.getByRole('button', { name: 'Begin' }).click()
    await page.getByRole('alert').filter({ hasText: 'link' }).waitFor()
    assert.deepEqual(browser.trouble, [])
  })
})
