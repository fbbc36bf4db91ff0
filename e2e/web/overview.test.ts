import assert from 'node:assert/strict'
import { execFile } from 'node:child_process'
import { mkdirSync, readdirSync, readlinkSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { after, before, test } from 'node:test'
import { promisify } from 'node:util'
import type { Page } from 'playwright-core'
import { Team } from '../commands/team.ts'
import { faultless } from './axe.ts'
import { openBrowser, skip } from './browser.ts'

const run = promisify(execFile)
const at = (environment: string) => ({ application: 'shop', environment })
const config = (production: object = {}, more: object = {}) =>
  JSON.stringify({
    application: 'shop',
    build: { leave_out: ['dploy.yml'] },
    ...more,
    environments: {
      production: {
        branch: 'main',
        servers: [{ name: 'web1' }],
        strategy: { kind: 'all-at-once', bake: '0s' },
        ...production,
      },
      staging: { branch: 'main', servers: [{ name: 'web2' }], strategy: { kind: 'all-at-once', bake: '0s' } },
    },
  })

test('what runs where, and what to do about it, on the overview', { skip, timeout: 240_000 }, async (t) => {
  let team: Team
  let browser: Awaited<ReturnType<typeof openBrowser>>
  let page: Page
  let first = ''
  before(async () => {
    team = await Team.up({ servers: 2 })
    writeFileSync(join(team.directory, '.gitignore'), '/.dploy\n/web*\n*.log\n/uploaded\n')
    await git('init', '--quiet', '--initial-branch=main')
    await apply()
    first = await commit('one')
    await Promise.all([deploy('production'), deploy('staging')])
    await commit('two')
    await deploy('staging')
    browser = await openBrowser()
    page = (await browser.open()).page
    const { link } = await team.client.call('addPerson', {
      body: { email: 'anna@example.org', name: 'Anna', grants: [{ role: 'administrator', place: null }] },
    })
    await page.goto(link, { timeout: 90_000 })
    await page.getByLabel('Password').fill('correct horse battery')
    await page.getByRole('button', { name: 'Sign in' }).click()
    await page.getByRole('heading', { name: 'Overview' }).waitFor()
  })
  after(async () => {
    await browser?.[Symbol.asyncDispose]()
    await team?.[Symbol.asyncDispose]()
  })

  await t.test('says how far one environment is ahead, and promotes what it runs', async () => {
    await page.getByText('1 commit ahead of production').waitFor()
    await page.getByText('1 commit behind staging').waitFor()
    await page.getByRole('img', { name: '2 deployments in 14 days' }).waitFor()
    await faultless(page, 'overview')
    await page.getByRole('link', { name: 'Promote shop from staging to production' }).click()
    await page.getByRole('heading', { name: 'Promote shop from staging to production' }).waitFor()
    await page.getByText('dploy deploy production --promote staging').waitFor()
    await page.getByText(/\d+ B per server, built before/).waitFor()
    await page.getByText(/Disk, clock, ports.*OK|of the doctor/).waitFor()
    await faultless(page, 'promotion')
    await page.getByRole('button', { name: /[Dd]eploy .*to production/ }).click()
    await page.getByText('succeeded', { exact: true }).first().waitFor()
    assert.equal(await artifactOf('production'), await artifactOf('staging'))
  })

  await t.test('files without a commit are promoted too', async () => {
    mkdirSync(join(team.directory, 'uploaded'))
    writeFileSync(join(team.directory, 'uploaded/version.txt'), 'by hand\n')
    assert.equal((await team.dploy('deploy', 'staging', '--directory', join(team.directory, 'uploaded'))).code, 0)
    assert.equal((await team.dploy('deploy', 'production', '--promote', 'staging')).code, 0)
    assert.equal(await artifactOf('production'), await artifactOf('staging'))
    const { releases } = await team.client.call('releases', { params: at('production'), query: { limit: 1 } })
    assert.deepEqual([releases[0]!.revision.commit, releases[0]!.revision.subject], [null, 'uploaded directory'])
  })

  await t.test('after a rollback it says since when that runs, not when it was made', async () => {
    const before = Date.now()
    await over((await team.client.call('rollback', { params: at('production'), body: { release: 2 } })).number)
    const { environments } = await team.client.call('environments')
    const { wanted } = environments.find(({ environment }) => environment === 'production')!
    assert.equal(wanted!.release, 2)
    assert.ok(wanted!.since >= before)
  })

  await t.test('the page of a deployment says which commits would be lost', async () => {
    await page.goto(`${team.url}/environments/shop/production/deploy?revision=${first}`)
    await page.getByText('1 commit that runs here now would not any more').waitFor()
    await page.getByText('is older than what runs').waitFor()
    assert.match(
      (await team.dploy('plan', 'production', '--revision', first)).stdout.toString(),
      /lost +1 commit that runs now, the latest: two/,
    )
  })

  await t.test('a server that runs something else is brought back by a click', async () => {
    const current = join(team.root('web1'), 'srv/shop/current')
    const here = readlinkSync(current)
    assert.ok(readdirSync(join(current, '../releases')).includes('1'))
    rmSync(current)
    symlinkSync(here.replace(/\d+$/, '1'), current)
    await page.goto(team.url)
    await page.getByText('1 drifted').waitFor()
    await page.getByRole('button', { name: 'Converge…' }).click()
    await page.getByRole('alertdialog').getByText('web1 runs release 1').waitFor()
    await page.getByRole('alertdialog').getByRole('button', { name: 'Converge', exact: true }).click()
    await page.getByText('converge', { exact: true }).waitFor()
    await page.getByText('succeeded', { exact: true }).first().waitFor()
    assert.equal(readlinkSync(current), here)
    assert.match(
      (await team.dploy('converge', 'production')).stdout.toString(),
      /Every connected server runs what it should/,
    )
  })

  await t.test('what waits for approval is seen from there', async () => {
    await apply({ protected: true })
    const { number } = await team.client.call('deploy', { params: at('production'), body: { requestedBy: 'bert' } })
    await page.goto(team.url)
    await page.getByText('waits for approval').first().waitFor()
    await page.getByText('asked for by bert').first().waitFor()
    await faultless(page, 'overview with approval')
    await page.getByRole('link', { name: `deployment ${number}` }).click()
    await page.getByRole('button', { name: 'Refuse' }).click()
    await page.getByText('cancelled', { exact: true }).first().waitFor()
  })

  await t.test('a lock is opened from there, and its holder ends', async () => {
    await apply({}, { hooks: { after_stage: 'sleep 30' } })
    await commit('three')
    const { number } = await team.client.call('deploy', { params: at('production'), body: {} })
    await page.goto(`${team.url}/deployments/${number}`)
    await page.getByRole('button', { name: 'Unlock production' }).click()
    await page.getByRole('button', { name: 'Open the lock' }).click()
    assert.notEqual(await over(number), 'succeeded')
    await page.getByRole('button', { name: 'Unlock production' }).waitFor({ state: 'detached' })
  })

  await t.test('people get and lose roles, and a command runs where it is said', async () => {
    const { link: _ } = await team.client.call('addPerson', {
      body: { email: 'bert@example.org', name: 'Bert', grants: [] },
    })
    await page.goto(`${team.url}/settings/people`)
    await page.getByRole('button', { name: 'Add a role of Bert' }).click()
    const form = page.getByRole('form', { name: 'Add a role of Bert' })
    await form.getByLabel('Role', { exact: true }).selectOption('deployer')
    await form.getByLabel('Where', { exact: true }).selectOption('shop/staging')
    await faultless(page, 'people')
    await form.getByRole('button', { name: 'Add', exact: true }).click()
    await page.getByRole('button', { name: 'Take away: deployer shop → staging of Bert' }).click()
    await page.getByRole('row').filter({ hasText: 'Bert' }).getByText('nothing yet').waitFor()
    await page.goto(`${team.url}/environments/shop/production/console`)
    await page.getByLabel('Command', { exact: true }).fill('echo chosen')
    await page.getByRole('button', { name: /^On\s+All/ }).click()
    await page.getByRole('checkbox', { name: 'web1' }).check()
    await faultless(page, 'console')
    await page.keyboard.press('Escape')
    await page.getByText('dploy exec production --on web1 -- echo chosen').waitFor()
    await page.getByRole('button', { name: 'Run' }).click()
    await page.getByRole('region', { name: 'What web1 answered' }).getByText('chosen').waitFor()
  })

  await t.test('it fits a phone, dark, and says no error', async () => {
    await page.emulateMedia({ colorScheme: 'dark' })
    await page.setViewportSize({ width: 390, height: 860 })
    for (const path of [
      '/',
      '/environments/shop/production/deploy',
      '/environments/shop/production/deploy?promote=staging',
    ]) {
      await page.goto(team.url + path)
      await page.locator('h1').waitFor()
      if (path !== '/') await page.getByText(/Disk, clock, ports.*OK|of the doctor/).waitFor()
      await faultless(page, path)
      assert.equal(await page.evaluate('document.documentElement.scrollWidth > innerWidth'), false, path)
      if (process.env.PICTURES)
        await page.screenshot({
          path: join(process.env.PICTURES, `overview${path.replaceAll(/[/?=]/g, '-')}.png`),
          fullPage: true,
        })
    }
    assert.deepEqual(browser.trouble, [])
  })

  async function apply(production: object = {}, more: object = {}): Promise<void> {
    const text = config(production, more)
    writeFileSync(join(team.directory, 'dploy.yml'), text)
    await team.client.call('apply', { body: { text, base: team.directory } })
  }
  async function deploy(environment: string): Promise<void> {
    assert.equal(
      await over((await team.client.call('deploy', { params: at(environment), body: { wait: true } })).number),
      'succeeded',
    )
  }
  /** The state in which a deployment ended. */
  async function over(number: number): Promise<string> {
    for await (const _ of team.client.stream('deploymentEvents', { params: { number }, query: {} })) continue
    return (await team.client.call('deployment', { params: { number } })).state
  }
  async function artifactOf(environment: string): Promise<string> {
    return (await team.client.call('releases', { params: at(environment), query: { limit: 1 } })).releases[0]!.artifact
  }
  async function git(...args: string[]): Promise<string> {
    return (
      await run('git', ['-C', team.directory, '-c', 'user.name=Anna', '-c', 'user.email=anna@example.org', ...args], {
        env: { ...process.env, GIT_CONFIG_GLOBAL: '/dev/null' },
      })
    ).stdout.trim()
  }
  async function commit(version: string): Promise<string> {
    writeFileSync(join(team.directory, 'version.txt'), `${version}\n`)
    await git('add', '--all')
    await git('commit', '--quiet', '--message', version)
    return git('rev-parse', 'HEAD')
  }
})
