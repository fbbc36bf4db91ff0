import { existsSync } from 'node:fs'
import { chromium, type Browser, type BrowserContext, type Page } from 'playwright-core'

/** Debian's Chromium; null: tests that need it are skipped. */
export const chromiumPath =
  ['/usr/bin/chromium', '/usr/bin/chromium-browser', '/usr/bin/google-chrome'].find((path) => existsSync(path)) ?? null
export const skip = chromiumPath === null ? 'needs Chromium (apt-get install chromium)' : false

export interface View {
  theme?: 'light' | 'dark'
  width?: number
  height?: number
}

/** A browser whose every page fails the test with what it says as an error: a script's, or one of the content security policy. */
export async function openBrowser(): Promise<
  AsyncDisposable & {
    browser: Browser
    trouble: string[]
    open(view?: View): Promise<{ page: Page; context: BrowserContext }>
  }
> {
  // Chromium's own sandbox does not work as root, as which the tests of a fleet run.
  const browser = await chromium.launch({
    executablePath: chromiumPath!,
    args: process.getuid?.() === 0 ? ['--no-sandbox'] : [],
  })
  const trouble: string[] = []
  return {
    browser,
    trouble,
    async open(view = {}) {
      const context = await browser.newContext({
        viewport: { width: view.width ?? 1280, height: view.height ?? 860 },
        colorScheme: view.theme ?? 'light',
        reducedMotion: 'reduce',
      })
      const page = await context.newPage()
      page.setDefaultTimeout(30_000)
      page.on('pageerror', (error) => trouble.push(`${page.url()}: ${error.message}`))
      page.on('console', (message) => {
        // What the network says when a server is gone is no fault of the page.
        if (message.type() === 'error' && !/Failed to load resource|net::ERR/.test(message.text()))
          trouble.push(`${page.url()}: ${message.text()}`)
      })
      return { page, context }
    },
    [Symbol.asyncDispose]: () => browser.close(),
  }
}

/** Signs in with an API token, and waits for the first page. */
export async function signInWith(page: Page, url: string, token: string): Promise<void> {
  await page.goto(url)
  await page.getByRole('button', { name: 'Use an API token' }).click()
  await page.getByLabel('API token').fill(token)
  await page.getByRole('button', { name: 'Sign in' }).click()
  await page.getByRole('heading', { name: 'Overview' }).waitFor()
}
