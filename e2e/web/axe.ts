import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import type { Page } from 'playwright-core'

const axe = readFileSync(fileURLToPath(import.meta.resolve('axe-core/axe.min.js')), 'utf8')

/** Fails with what axe-core finds on a page, by rule and element. It is run from the browser's side, so that the page's own policy stays as it is. */
export async function faultless(page: Page, name: string): Promise<void> {
  await page.locator('h1, h2').first().waitFor()
  await page.evaluate(axe)
  const found = await page.evaluate<{ id: string; nodes: { html: string; failureSummary: string }[] }[]>('axe.run(document).then((result) => result.violations)')
  assert.deepEqual(found.map(({ id, nodes }) => `${id}: ${nodes.slice(0, 3).map((node) => `${node.html.slice(0, 160)} ${node.failureSummary.slice(0, 200)}`).join(' | ')}`), [], name)
}

/** The same in light on a wide screen and in dark on a phone's, which it has to fit. Leaves the page light and wide. */
export async function faultlessInEveryLook(page: Page, name: string): Promise<void> {
  for (const [colorScheme, width] of [['dark', 390], ['light', 1280]] as const) {
    await page.emulateMedia({ colorScheme })
    await page.setViewportSize({ width, height: 860 })
    await faultless(page, `${name}, ${colorScheme}, ${width} wide`)
    assert.equal(await page.evaluate('document.documentElement.scrollWidth > innerWidth'), false, `${name} is wider than ${width}`)
  }
}
