import { setTimeout as delay } from 'node:timers/promises'
import type { Page, Request } from 'playwright-core'
import { routes } from '../../src/protocol/api/contract.ts'
import type { Route } from '../../src/protocol/api/route.ts'

const all = Object.entries(routes as Record<string, Route>).map(([name, route]) => ({
  name,
  route,
  path: new RegExp(`^${route.path.replaceAll(/:\w+/g, '[^/]+')}$`),
}))

/** Which call of the contract a request of a page is, if it is one that changes something of others: not the caller's own session or tokens. */
function changeOf(request: Request): string | null {
  const { pathname } = new URL(request.url())
  const found = all.find(({ route, path }) => route.method === request.method() && path.test(pathname))
  if (!found || !(found.route.audited ?? found.route.method !== 'GET')) return null
  return ['open', 'known', 'own'].includes(found.route.access) ? null : found.name
}

/** What can be pressed beside links, which only lead elsewhere. What every page has around it ends the session, or moves nothing. */
const pressable =
  'main button:enabled, main [role="button"]:not([aria-disabled="true"]), main input[type="checkbox"]:enabled, main input[type="radio"]:enabled'

/**
 * Presses everything on a page, fills in every form first, and says yes to every question. Answers the calls that would have changed something, which
 * do not go through, and what was pressed.
 */
export async function pressEverything(page: Page, path: string): Promise<{ changes: string[]; pressed: string[] }> {
  const changes: string[] = []
  const pressed: string[] = []
  // No more than that: what the pages are made of need not wait for it.
  const calls = ({ pathname }: URL) => all.some(({ path }) => path.test(pathname))
  await page.route(calls, (route) => {
    const change = changeOf(route.request())
    if (change === null) return route.continue()
    changes.push(change)
    return route.abort()
  })
  const asked = new Set<string>()
  const ask = (request: Request) => void asked.add(request.url())
  const answered = (request: Request) => void asked.delete(request.url())
  page.on('request', ask).on('requestfinished', answered).on('requestfailed', answered)
  try {
    const open = async () => {
      await page.goto(path)
      await page
        .locator('main')
        .locator('h1, h2, p, [role="alert"]')
        .first()
        .waitFor()
        .catch(async (error: Error) => {
          throw new Error(
            `${path} shows nothing: ${(await page.locator('body').innerHTML()).slice(0, 2_000)}; not answered: ${[...asked].join(', ')}`,
            { cause: error },
          )
        })
      // The stream of changes stays open: a network that is idle there never is.
      await page.locator('main .skeleton').first().waitFor({ state: 'detached' })
    }
    await open()
    const count = await settled(() => page.locator(pressable).count())
    for (let index = 0; index < count; index++) {
      const one = page.locator(pressable).nth(index)
      // What was pressed before may have taken it away: a filter, another view.
      if ((await one.count()) === 0) await open()
      if (
        !(await one.waitFor({ state: 'attached', timeout: 2_000 }).then(
          () => true,
          () => false,
        ))
      )
        continue
      const name = await one
        .evaluate((element) => element.getAttribute('aria-label') ?? element.textContent, undefined, { timeout: 2_000 })
        .catch(() => null)
      // Copying, sorting by a column, choosing what is shown and downloading it stay in the browser.
      if (
        name === null ||
        /^(?:Copy|Copied|Sign out)/.test(name) ||
        (await one
          .evaluate((element) => element.closest('th') !== null, undefined, { timeout: 2_000 })
          .catch(() => true))
      )
        continue
      for (const field of await page
        .locator('main input:enabled:not([type="checkbox"]):not([type="radio"]):visible, main textarea:enabled:visible')
        .all())
        if ((await field.inputValue().catch(() => 'x')) === '') await field.fill('example').catch(() => {})
      if (
        !(await one.click({ timeout: 2_000 }).then(
          () => true,
          () => false,
        ))
      )
        continue
      pressed.push(name.trim())
      const dialog = page.getByRole('alertdialog').or(page.getByRole('dialog'))
      if (
        await dialog
          .first()
          .isVisible()
          .catch(() => false)
      ) {
        await dialog
          .first()
          .getByRole('button')
          .last()
          .click({ timeout: 2_000 })
          .catch(() => {})
        await page.keyboard.press('Escape')
      }
      if (new URL(page.url()).pathname !== new URL(path).pathname) await open()
    }
    return { changes, pressed }
  } finally {
    await page.unroute(calls)
    page.off('request', ask).off('requestfinished', answered).off('requestfailed', answered)
  }
}

/** What is counted once it is the same for a while: a page goes on to fill itself after its first words. */
async function settled(count: () => Promise<number>): Promise<number> {
  let last = await count()
  for (const deadline = Date.now() + 5_000; Date.now() < deadline;) {
    await delay(200)
    const now = await count()
    if (now === last) return now
    last = now
  }
  return last
}
