import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import type { Page } from 'playwright-core'

const axe = readFileSync(fileURLToPath(import.meta.resolve('axe-core/axe.min.js')), 'utf8')

/** Fails with what axe-core finds on a page, by rule and element. It is run from the browser's side, so that the page's own policy stays as it is. */
export async function faultless(page: Page, name: string): Promise<void> {
  await page.locator('h1, h2').first().waitFor()
  if (await page.evaluate('globalThis.axe === undefined')) await page.evaluate(axe)
  const found = await page.evaluate<{ id: string; nodes: { html: string; failureSummary: string }[] }[]>(
    "axe.run(document, { resultTypes: ['violations'] }).then((result) => result.violations)",
  )
  assert.deepEqual(
    found.map(
      ({ id, nodes }) =>
        `${id}: ${nodes
          .slice(0, 3)
          .map((node) => `${node.html.slice(0, 160)} ${node.failureSummary.slice(0, 200)}`)
          .join(' | ')}`,
    ),
    [],
    name,
  )
}

/** The same in dark on a phone's screen and in light on a wide one, both of which it has to fit. Leaves the page light and wide. Pictures go to where PICTURES says. */
export async function faultlessInEveryLook(page: Page, name: string): Promise<void> {
  for (const [colorScheme, width] of [
    ['dark', 390],
    ['light', 1280],
  ] as const) {
    await page.emulateMedia({ colorScheme })
    await page.setViewportSize({ width, height: 860 })
    // What depends on the width draws itself again.
    await page.evaluate('new Promise((drawn) => requestAnimationFrame(() => requestAnimationFrame(drawn)))')
    await faultless(page, `${name}, ${colorScheme}, ${width} wide`)
    assert.equal(
      await page.evaluate('document.documentElement.scrollWidth > innerWidth'),
      false,
      `${name} is wider than ${width}`,
    )
    if (process.env.PICTURES)
      await page.screenshot({
        path: join(process.env.PICTURES, `${name.replaceAll(/[^\w-]/g, '-')}-${colorScheme}.png`),
        fullPage: true,
      })
  }
}
