import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { connect, createServer, type Socket } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import { after, before, describe, test } from 'node:test'
import { Client } from '../../src/client/client.ts'
import { deploymentEventSchema, type DeploymentEvent } from '../../src/protocol/deployment.ts'
import { openBrowser, skip } from './browser.ts'
import { startDemo, type Demo } from './demo.ts'

const lines = 500
const cuts = 20

describe('an event stream that is cut 20 times at random while a deployment runs', { timeout: 150_000 }, () => {
  const repository = mkdtempSync(join(tmpdir(), 'dploy-cut-'))
  let demo: Demo

  before(async () => {
    writeFileSync(
      join(repository, 'server.js'),
      "require('node:http').createServer((_, response) => response.end('ok')).listen(process.env.PORT)\n",
    )
    writeFileSync(
      join(repository, 'build.js'),
      `let line = 0\nconst lines = require('node:fs').existsSync('why.txt') ? ${lines} : 1\nconst timer = setInterval(() => { console.log('line ' + ++line); if (line === lines) clearInterval(timer) }, 12)\n`,
    )
    writeFileSync(
      join(repository, 'dploy.yml'),
      `application: talker\nsource: { repository: . }\nbuild: { command: '${process.execPath} build.js' }\nservice: { command: '${process.execPath} server.js', port: 3000 }\nenvironments: { demo: { servers: [web1] } }\n`,
    )
    git('init', '--quiet', '--initial-branch', 'main')
    commit('Talk')
    demo = await startDemo(2, repository)
  })
  after(async () => {
    await demo?.[Symbol.asyncDispose]()
    rmSync(repository, { recursive: true, force: true })
  })

  test('gives a client exactly the events that are stored', async (t) => {
    const number = await deploy('for a client')
    await using proxy = await CuttingProxy.before(demo.url)
    const client = new Client({ url: proxy.url, token: demo.token, fetch })
    const came: DeploymentEvent[] = []
    proxy.beginCutting()
    for await (const event of client.stream('deploymentEvents', { params: { number } })) came.push(event)
    const stored = storedOf(number)
    t.diagnostic(`${proxy.cut} cuts, ${stored.length} events`)
    assert.equal(proxy.cut, cuts)
    assert.deepEqual(came, stored)
    assert.ok(stored.length > 60)
    for (const kind of ['state', 'step', 'note', 'output', 'plan', 'traffic', 'receipt'])
      assert.ok(
        stored.some(({ data }) => data.kind === kind),
        `no ${kind} was among them`,
      )
  })

  test('gives a page exactly the lines of what is stored: steps, notes and output', { skip }, async (t) => {
    await using browser = await openBrowser()
    await using proxy = await CuttingProxy.before(demo.url)
    const { page } = await browser.open()
    await demo.signIn(page, proxy.url)
    const number = await deploy('for a page')
    await page.goto(`${proxy.url}/deployments/${number}`)
    await page.getByRole('heading', { name: new RegExp(`^Deployment ${number}`) }).waitFor()
    proxy.beginCutting()
    await page.getByRole('heading', { name: 'Receipt' }).waitFor({ timeout: 60_000 })
    t.diagnostic(`${proxy.cut} cuts`)
    assert.equal(proxy.cut, cuts)
    const downloading = page.waitForEvent('download')
    await page.getByRole('button', { name: /^Download (these lines|what is shown)/ }).click()
    const shown = readFileSync(await (await downloading).path(), 'utf8')
      .trimEnd()
      .split('\n')
    const stored = storedOf(number)
    assert.deepEqual(shown, stored.flatMap(linesOf))
    assert.equal(shown.filter((line) => / line \d+$/.test(line)).length, lines)
    assert.equal(await page.getByRole('row').filter({ hasText: 'switched' }).count(), 2)
  })

  async function deploy(why: string): Promise<number> {
    writeFileSync(join(repository, 'why.txt'), why)
    commit(`Talk ${why}`)
    return (await demo.client.call('deploy', { params: { application: 'talker', environment: 'demo' }, body: {} }))
      .number
  }

  /** As they stand in the database of the control plane, read past it. */
  function storedOf(number: number): DeploymentEvent[] {
    using database = new DatabaseSync(demo.database, { readOnly: true, timeout: 5_000 })
    const rows = database
      .prepare(
        'SELECT events.seq, events.deployment_id AS deployment, events.at, events.stored_at AS stored, servers.name AS server, events.data FROM events JOIN deployments ON deployments.id = events.deployment_id LEFT JOIN servers ON servers.id = events.server_id WHERE deployments.number = ? ORDER BY events.seq',
      )
      .all(number)
    return rows.map((row) => deploymentEventSchema.parse({ ...row, data: JSON.parse(String(row.data)) }))
  }

  function git(...args: string[]): void {
    execFileSync('git', [
      '-C',
      repository,
      '-c',
      'user.name=Anna',
      '-c',
      'user.email=anna@localhost',
      '-c',
      'commit.gpgsign=false',
      '-c',
      'core.hooksPath=/dev/null',
      ...args,
    ])
  }
  function commit(message: string): void {
    git('add', '--all')
    git('commit', '--quiet', '--message', message)
  }
})

const words: Record<string, string> = {
  staging: 'staging',
  staged: 'staged',
  draining: 'draining',
  activating: 'activating',
  registering: 'registering',
  switched: 'switched',
}

/** What a person is to read of an event: time, server, and what happened. */
function linesOf({ at, server, data }: DeploymentEvent): string[] {
  const line = (text: string) => `${new Date(at).toISOString()} ${server ?? '-'} ${text}`
  switch (data.kind) {
    case 'output':
      return data.text
        .replace(/\n$/, '')
        .split('\n')
        .map((text) => line(`[${data.source}] ${text}`))
    case 'note':
      return [line(data.text)]
    case 'step':
      return [line(words[data.state]!)]
    case 'state':
      return [line(`${data.state[0]!.toUpperCase()}${data.state.slice(1).replaceAll('_', ' ')}`)]
    default:
      return []
  }
}

/** Passes connections on to the control plane, and cuts those that carry events: after a number of bytes, wherever in an event that is. */
class CuttingProxy implements AsyncDisposable {
  readonly url: string
  cut = 0
  #cutting = false
  readonly #server
  readonly #sockets = new Set<Socket>()

  private constructor(server: ReturnType<typeof createServer>, url: string) {
    this.#server = server
    this.url = url
  }

  static async before(target: string): Promise<CuttingProxy> {
    const server = createServer()
    await once(server.listen(0, '127.0.0.1'), 'listening')
    const proxy = new CuttingProxy(server, `http://127.0.0.1:${(server.address() as { port: number }).port}`)
    server.on('connection', (socket) => proxy.#pass(socket, Number(new URL(target).port)))
    return proxy
  }

  beginCutting(): void {
    this.#cutting = true
  }

  #pass(near: Socket, port: number): void {
    const far = connect(port, '127.0.0.1')
    let events = false
    let left = 0
    for (const socket of [near, far]) {
      this.#sockets.add(socket)
      socket
        .on('error', () => {})
        .on('close', () => {
          this.#sockets.delete(socket)
          near.destroy()
          far.destroy()
        })
    }
    near.on('data', (chunk: Buffer) => far.write(chunk))
    far.on('data', (chunk: Buffer) => {
      if (/^content-type: text\/event-stream/im.test(chunk.toString('latin1'))) {
        events = true
        left = 400 + Math.floor(Math.random() * 3_000)
      }
      if (!events || !this.#cutting || this.cut >= cuts || (left -= chunk.length) > 0) {
        near.write(chunk)
        return
      }
      this.cut++
      events = false
      near.write(chunk.subarray(0, Math.max(0, chunk.length + left)), () => near.resetAndDestroy())
    })
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const socket of this.#sockets) socket.destroy()
    await new Promise((resolve) => this.#server.close(resolve))
  }
}
