import assert from 'node:assert/strict'
import { after, before, test } from 'node:test'
import { setTimeout as delay } from 'node:timers/promises'
import { serverSentEvents } from '../../src/client/server-sent-events.ts'
import type { Changed } from '../../src/protocol/api/changes.ts'
import { Plane } from '../api/plane.ts'
import { openBrowser, signInWith, skip } from './browser.ts'
import { quantile } from './watched-page.ts'

const config = (application: string, environments: string[]) =>
  JSON.stringify({
    application,
    environments: Object.fromEntries(
      environments.map((name) => [name, { branch: 'main', servers: [{ name: `${application}-${name}` }] }]),
    ),
  })

test('what changes', { timeout: 100_000 }, async (t) => {
  let plane: Plane
  before(async () => {
    plane = await Plane.up()
    for (const application of ['shop', 'blog'])
      await plane.client.call('apply', { body: { text: config(application, ['production']) } })
  })
  after(() => plane?.[Symbol.asyncDispose]())

  await t.test('is told to who may read it, and to no one else; another role is told too', async () => {
    const { person, link } = await plane.client.call('addPerson', {
      body: {
        email: 'vera@example.org',
        name: 'Vera',
        grants: [{ role: 'viewer', place: { application: 'shop', environment: 'production' } }],
      },
    })
    const joined = await plane.ask('POST', '/api/v1/invitation', {
      body: { token: link.split('#')[1], password: 'correct horse battery' },
    })
    const stop = new AbortController()
    const heard: string[] = []
    const response = await fetch(`${plane.url}/api/v1/changes?follow=true`, {
      headers: { cookie: joined.cookie!, origin: plane.url },
      signal: stop.signal,
    })
    const reading = read(response.body!, ({ changes }) =>
      heard.push(...changes.map(({ kind, place }) => `${kind} ${place?.application ?? ''}`.trim())),
    ).catch(() => {})
    const secret = (application: string) =>
      plane.client.call('setSecret', {
        params: { application, environment: 'production', name: 'KEY' },
        body: { value: 'secret' },
      })
    await secret('blog')
    await secret('shop')
    await until(() => heard.length > 0)
    await plane.client.call('setGrants', {
      params: { person: person.id },
      body: { grants: [{ role: 'viewer', place: null }] },
    })
    await until(() => heard.includes('session'))
    await secret('blog')
    await until(() => heard.includes('secrets blog'))
    stop.abort()
    await reading
    assert.deepEqual(
      heard.filter((one) => one !== 'people'),
      ['secrets shop', 'session', 'secrets blog'],
    )
  })

  await t.test('is told once more to who comes back, and that nobody knows to who comes from before', async () => {
    const { token } = await plane.client.call('createToken', { body: { note: 'reader', right: 'read' } })
    const ask = async (last?: string) =>
      (
        await plane.ask('GET', '/api/v1/changes', {
          token,
          headers: last === undefined ? {} : { 'last-event-id': last },
        })
      ).text
    const [, cursor] = /^id: (\d+)$/m.exec(await ask())!
    await plane.client.call('setSecret', {
      params: { application: 'shop', environment: 'production', name: 'OTHER' },
      body: { value: 'secret' },
    })
    assert.match(
      await ask(cursor),
      /"everything":false,"changes":\[\{"kind":"secrets","place":\{"application":"shop","environment":"production"\}\}\]/,
    )
    assert.match(await ask('5'), /"everything":true/)
  })

  await t.test('is on the page within a quarter of a second, without a reload', { skip }, async (sub) => {
    await using browser = await openBrowser()
    const { page } = await browser.open()
    const { token } = await plane.client.call('createToken', { body: { note: 'page', right: 'administer' } })
    await signInWith(page, plane.url, token)
    await page.getByText('blog').first().waitFor()
    const took: number[] = []
    const measured = async (text: string, change: () => Promise<unknown>) => {
      await page.evaluate(`void (globalThis.arrived = new Promise((resolve) => new MutationObserver((_, observer) => {
        if (document.body.innerText.includes(${JSON.stringify(text)})) { observer.disconnect(); resolve(Date.now()) }
      }).observe(document.body, { subtree: true, childList: true, characterData: true })))`)
      await change()
      const stored = Date.now()
      const arrived = (await page.evaluate(
        'Promise.race([globalThis.arrived, new Promise((resolve) => setTimeout(resolve, 10_000, Infinity))])',
      )) as number
      took.push(Math.max(0, arrived - stored))
    }
    for (let count = 1; count <= 6; count++)
      await measured(`preview${count}`, () =>
        plane.client.call('apply', {
          body: {
            text: config('blog', ['production', ...Array.from({ length: count }, (_, index) => `preview${index + 1}`)]),
          },
        }),
      )
    await page.goto(`${plane.url}/environments/shop/production/settings`)
    await page.getByText('OTHER').first().waitFor()
    for (let count = 1; count <= 4; count++)
      await measured(`SECRET_${count}`, () =>
        plane.client.call('setSecret', {
          params: { application: 'shop', environment: 'production', name: `SECRET_${count}` },
          body: { value: 'secret' },
        }),
      )
    sub.diagnostic(`after it was stored: ${took.map((ms) => `${ms} ms`).join(', ')}`)
    assert.ok(quantile(took, 0.5) <= 250, `median ${quantile(took, 0.5)} ms`)
    assert.deepEqual(browser.trouble, [])
  })
})

async function read(body: ReadableStream<Uint8Array>, take: (changed: Changed) => void): Promise<void> {
  for await (const { data } of serverSentEvents(body)) take(JSON.parse(data) as Changed)
}

async function until(what: () => boolean): Promise<void> {
  for (const deadline = Date.now() + 20_000; !what(); await delay(20))
    assert.ok(Date.now() < deadline, 'nothing was told')
}
