// Makes the pictures of the pages in README.md and docs/pages.md, from a running demo and Chromium.
// node_modules/.bin/node e2e/pictures/pages.ts [docs/images]
import { statSync } from 'node:fs'
import { join, resolve } from 'node:path'
import type { Page } from 'playwright-core'
import { openBrowser, skip } from '../web/browser.ts'
import { startDemo } from '../web/demo.ts'

/** What a repository has to carry for a picture, at most. Bytes. */
const limit = 200_000
const servers = 4

async function main(directory: string): Promise<void> {
  if (skip !== false) throw new Error(`pictures: ${skip}`)
  await using demo = await startDemo(servers)
  await using browser = await openBrowser()
  const { page } = await browser.open({ width: 1280, height: 800 })
  const { page: dark } = await browser.open({ width: 1280, height: 800, theme: 'dark' })
  await Promise.all([demo.signIn(page), demo.signIn(dark)])
  const at = (path: string) => `${demo.url}/environments/hello/demo/${path}`
  const take = async (on: Page, name: string, most = 1_400) => {
    // The pointer leaves no trace, and what has moved in stands still.
    await on.mouse.move(0, 0)
    await on.locator('.skeleton').first().waitFor({ state: 'detached' })
    await on.evaluate('document.fonts.ready')
    const path = join(directory, `${name}.png`)
    const tall = Math.min(
      most,
      await on.evaluate<number>('document.querySelector("main").getBoundingClientRect().bottom + scrollY'),
    )
    await on.screenshot({ path, clip: { x: 0, y: 0, width: 1280, height: Math.ceil(tall) }, fullPage: true })
    const { size } = statSync(path)
    if (size > limit) throw new Error(`${path} has ${size} bytes`)
    process.stdout.write(`${path}  ${Math.round(size / 1_000)} KB\n`)
  }

  await demo.commit('greeting.txt', 'Good evening\n', 'Greet people in the evening')
  await demo.commit('opening.txt', 'Monday to Saturday\n', 'Say when the shop is open')
  await page.getByRole('link', { name: 'Deploy hello to demo' }).click()
  await page.getByText(new RegExp(`All ${servers} servers answer`)).waitFor()
  await page
    .getByText(/2 files/)
    .first()
    .waitFor()
  await take(page, 'deploy')

  await page.getByRole('button', { name: /^Deploy \w+ to demo/ }).click()
  await page.getByRole('heading', { name: /^Deployment \d+/ }).waitFor()
  await dark.goto(page.url())
  await switched(page, servers / 2)
  await take(page, 'deployment-live')
  await page.getByRole('heading', { name: 'Receipt' }).waitFor()
  await take(page, 'deployment')
  await dark.getByRole('heading', { name: 'Receipt' }).waitFor()
  await take(dark, 'deployment-dark')

  await page.goto(demo.url)
  await page.getByText(`healthy on ${servers} of ${servers}`).waitFor()
  await take(page, 'overview')

  await page.goto(at('servers'))
  await page
    .getByRole('row')
    .filter({ hasText: `web${servers}` })
    .getByText('serves')
    .waitFor()
  await take(page, 'servers')

  await page.goto(at('console'))
  await page
    .getByLabel('Command', { exact: true })
    .fill('if [ $DPLOY_SERVER = web3 ]; then echo "502 Bad Gateway"; exit 1; fi; echo "200 OK"')
  await page.getByRole('button', { name: 'Run' }).click()
  await page.getByText('502 Bad Gateway', { exact: true }).first().waitFor()
  await page.getByText('200 OK', { exact: true }).first().waitFor()
  await take(page, 'console')

  await page.goto(at('settings'))
  await page.getByRole('region', { name: 'dploy.yml' }).getByText('application: hello').waitFor()
  await take(page, 'settings', 860)

  if (browser.trouble.length > 0) throw new Error(browser.trouble.join('\n'))
}

/** Waits until so many servers of the deployment that is shown have the new release. */
async function switched(page: Page, count: number): Promise<void> {
  await page
    .getByRole('row')
    .filter({ hasText: 'switched' })
    .nth(count - 1)
    .waitFor()
}

await main(resolve(process.argv[2] ?? join(import.meta.dirname, '../../docs/images')))
