// What Lighthouse says of the overview and of a deployment's page, as somebody who is signed in sees them. Ends with 1 where a score is under 95.
// Run: bench/run lighthouse                    (Chromium; as on a desk)
//      bench/run lighthouse --mobile           with a slow phone and network made up
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import lighthouse, { desktopConfig } from 'lighthouse'
import { chromium } from 'playwright-core'
import { chromiumPath, skip } from '../e2e/web/browser.ts'
import { startDemo } from '../e2e/web/demo.ts'
import { freePorts } from '../e2e/world.ts'

const categories = ['performance', 'accessibility', 'best-practices'] as const
const least = 95

const { values } = parseArgs({ options: { mobile: { type: 'boolean', default: false } } })
if (skip !== false) throw new Error(`Lighthouse cannot run here: ${skip}`)
const profile = mkdtempSync(join(tmpdir(), 'dploy-lighthouse-'))
try {
  process.exitCode = (await measure()) ? 0 : 1
} finally {
  rmSync(profile, { recursive: true, force: true, maxRetries: 5 })
}

/** Whether all scores are high enough. */
async function measure(): Promise<boolean> {
  const [port] = (await freePorts(1)) as [number]
  await using demo = await startDemo(3)
  const browser = await chromium.launchPersistentContext(profile, {
    executablePath: chromiumPath!,
    args: [`--remote-debugging-port=${port}`, ...(process.getuid?.() === 0 ? ['--no-sandbox'] : [])],
  })
  try {
    // As a person, whose session is a cookie: a token would stay in the tab in which it was typed.
    const { link } = await demo.client.call('addPerson', {
      body: { email: 'anna@example.org', name: 'Anna', grants: [{ role: 'administrator', place: null }] },
    })
    const page = browser.pages()[0] ?? (await browser.newPage())
    await page.goto(link)
    await page.getByLabel('Password').fill('correct horse battery')
    await page.getByRole('button', { name: 'Sign in' }).click()
    await page.getByRole('heading', { name: 'Overview' }).waitFor()
    await page.goto('about:blank')
    let enough = true
    for (const [name, path] of [
      ['the overview', '/'],
      ['the page of a deployment', '/deployments/2'],
    ] as const) {
      const { scores, faults } = await ask(demo.url + path, port)
      process.stdout.write(
        `${name}: ${Object.entries(scores)
          .map(([category, score]) => `${category} ${score}`)
          .join(', ')}\n`,
      )
      if (Object.values(scores).every((score) => score >= least)) continue
      enough = false
      process.stdout.write(`NOT REACHED: ${least} each\n${faults.join('\n')}\n`)
    }
    return enough
  } finally {
    await browser.close()
  }
}

async function ask(url: string, port: number): Promise<{ scores: Record<string, number>; faults: string[] }> {
  const result = await lighthouse(
    url,
    { port, output: 'json', logLevel: 'error', disableStorageReset: true, onlyCategories: [...categories] },
    values.mobile ? undefined : desktopConfig,
  )
  const { lhr } = result!
  if (lhr.runtimeError !== undefined || new URL(lhr.finalDisplayedUrl).pathname !== new URL(url).pathname)
    throw new Error(`Lighthouse did not see ${url}: ${lhr.runtimeError?.message ?? lhr.finalDisplayedUrl}`)
  const scores = Object.fromEntries(
    categories.map((category) => [category, Math.round((lhr.categories[category]!.score ?? 0) * 100)]),
  )
  const faults = categories.flatMap((category) =>
    lhr.categories[category]!.auditRefs.filter(({ weight }) => weight > 0).flatMap(({ id }) => {
      const audit = lhr.audits[id]!
      return audit.score !== null && audit.score < 0.9
        ? [`  ${category}: ${id} ${audit.score} ${audit.displayValue ?? ''}`]
        : []
    }),
  )
  return { scores, faults }
}
