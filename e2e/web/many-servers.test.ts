import assert from 'node:assert/strict'
import { test } from 'node:test'
import { SimulatedWorld } from '../simulated/world.ts'
import { faultlessInEveryLook } from './axe.ts'
import { openBrowser, signInWith, skip } from './browser.ts'

const servers = 48

test(
  'the page of a deployment on more servers than fit into rows shows each as a cell',
  { skip, timeout: 90_000 },
  async (t) => {
    await using world = await SimulatedWorld.up({
      servers,
      pace: { stage: [300, 1_500], activate: [300, 1_500], stageLines: 10, activateLines: 20 },
      strategy: { kind: 'rolling', batch: 16, bake: '100ms' },
    })
    await using browser = await openBrowser()
    const { page } = await browser.open()
    await signInWith(page, world.plane.url, await world.token())
    const number = await world.deploy('Greet many')
    await page.goto(`${world.plane.url}/deployments/${number}`)
    await page.getByRole('button', { name: /^web48: / }).waitFor()

    await t.test('until all stand where they should in the end', async () => {
      assert.equal(await page.locator('.cell').count(), servers)
      assert.equal(await world.over(number), 'succeeded')
      await page.getByRole('heading', { name: 'Receipt' }).waitFor()
      assert.equal(await page.locator('.cell.is-switched').count(), servers)
      // Where nothing ran before, all switch at once.
      await page.getByRole('region', { name: 'Batch 1' }).getByText(`${servers} of ${servers}`).waitFor()
    })

    await t.test('by keys and by state, and its log alone', async () => {
      await page.getByRole('button', { name: 'web1: switched' }).focus()
      await page.keyboard.press('ArrowRight')
      await page.keyboard.press('Enter')
      assert.equal(await page.getByLabel('Which server', { exact: true }).inputValue(), 'web2')
      await page.getByText(/^3[3-9] lines$/).waitFor()
      await page.getByLabel('Which servers').selectOption('switched')
      assert.equal(await page.locator('.cell').count(), servers)
      await page.getByRole('button', { name: 'Rows' }).click()
      await page.getByRole('table', { name: 'Servers' }).getByText('web3', { exact: true }).waitFor()
      await page.getByRole('button', { name: 'Cells' }).click()
    })

    await t.test('without a fault that axe finds', () => faultlessInEveryLook(page, 'cells'))
    await t.test('without an error', () => assert.deepEqual(browser.trouble, []))
  },
)
