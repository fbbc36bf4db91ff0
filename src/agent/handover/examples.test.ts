import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, test } from 'node:test'
import { ask, freePorts, lives, ManagerWorld, until } from '../services/contract-world.ts'

const text = readFileSync(new URL('../../../docs/handover.md', import.meta.url), 'utf8')

/** How the examples of docs/handover.md are run, by the language of their block. */
const languages: Record<string, { program: string; file: string; build?: string[]; version?: string }> = {
  js: { program: process.execPath, file: 'server.cjs' },
  python: { program: 'python3', file: 'server.py' },
  ruby: { program: 'ruby', file: 'server.rb' },
  go: { program: 'go', file: 'server.go', version: 'version', build: ['build', '-o', 'server', 'server.go'] },
}

describe(
  'the examples in docs/handover.md',
  { skip: process.platform === 'linux' ? false : 'needs /proc', timeout: 60_000 },
  () => {
    for (const [language, { program, file, build, version = '--version' }] of Object.entries(languages)) {
      const command = build === undefined ? `${program} ${file}` : './server'
      const write = (world: ManagerWorld, number: number) => {
        const cwd = world.releasePath(number)
        writeFileSync(join(cwd, file), new RegExp(`\`\`\`${language}\\n([^]*?)\`\`\``).exec(text)![1]!)
        if (build !== undefined) assert.equal(spawnSync(program, build, { cwd, stdio: 'inherit' }).status, 0)
      }
      const missing = spawnSync(program, [version]).error === undefined ? false : `${program} is not installed`
      test(
        `${language}: two releases share the socket, and none of the requests fails while one takes over`,
        { skip: missing },
        async () => {
          await using world = new ManagerWorld({ kind: 'process', skip: false, ownsProcesses: true })
          for (const number of [1, 2]) write(world, number)
          const beside = world.manager.beside!
          const [port] = await freePorts(1)
          const address = { host: null, port: port! }
          const release = (number: number) =>
            world.release({
              number,
              ports: [port!],
              env: { DPLOY_RELEASE: String(number), PATH: process.env.PATH ?? '', HOME: process.env.HOME ?? '/' },
              service: { command },
            })
          await beside.start('1', release(1), [address])
          await beside.serve('1')
          await until(async () => (await ask(port!, '/').catch(() => '')) !== '')
          const { pids } = (await beside.runs())[0]!
          let asking = true
          let count = 0
          const users = Promise.all(
            Array.from({ length: 3 }, async () => {
              while (asking) {
                assert.match(await ask(port!, '/'), /^(release \d|ok)\n$/)
                count++
              }
            }),
          )
          users.catch(() => {})
          await until(() => count > 20)
          await beside.start('2', release(2), [address])
          const before = count
          await until(() => count > before + 100)
          assert.deepEqual(await beside.end('1'), { killed: false })
          const after = count
          await until(() => count > after + 20)
          asking = false
          await users
          assert.equal(lives(pids[0]!), false)
        },
      )

      test(`${language}: without a socket it opens its port`, { skip: missing }, async () => {
        await using world = new ManagerWorld({ kind: 'process', skip: false, ownsProcesses: true })
        write(world, 1)
        const [port] = await freePorts(1)
        await world.start({
          number: 1,
          ports: [port!],
          env: { PATH: process.env.PATH ?? '', HOME: process.env.HOME ?? '/' },
          service: { command },
        })
        await until(async () => (await ask(port!, '/').catch(() => '')) !== '')
      })
    }
  },
)
