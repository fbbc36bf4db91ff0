import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import { once } from 'node:events'
import { mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { after, before, describe, test } from 'node:test'
import { freePorts } from '../world.ts'
import { Team } from './team.ts'

/** Prints a line every 50 ms, with its time; every tenth is a warning. */
const application = `
const http = require('node:http')
const name = process.env.DPLOY_SERVER
let count = 0
setInterval(() => {
  count++
  console.log(new Date().toISOString() + (count % 10 === 0 ? ' Warning ' : ' tick ') + name + ' ' + count)
}, 50)
http.createServer((request, response) => response.end('ok')).listen(process.env.PORT)
process.on('SIGTERM', () => process.exit(0))
`

describe(
  "dploy logs of the process keeper's files",
  { skip: process.platform === 'linux' ? false : 'needs /proc', concurrency: 1, timeout: 120_000 },
  () => {
    let team: Team
    before(async () => {
      team = await Team.up({ servers: 2 })
      const ports = await freePorts(2)
      const source = join(team.directory, 'application')
      mkdirSync(source)
      writeFileSync(join(source, 'server.cjs'), application)
      for (const args of [
        ['init', '--quiet', '--initial-branch=main'],
        ['add', '.'],
        ['-c', 'user.name=Anna', '-c', 'user.email=anna@example.org', 'commit', '--quiet', '--message', 'Begin'],
      ])
        execFileSync('git', ['-C', source, ...args])
      writeFileSync(
        join(team.directory, 'dploy.yml'),
        JSON.stringify({
          application: 'shop',
          source,
          service: { command: `${process.execPath} server.cjs`, manager: 'process', port: 3000 },
          environments: {
            production: {
              branch: 'main',
              strategy: { bake: '0s' },
              servers: team.names.map((name, index) => ({ name, port: ports[index] })),
            },
          },
        }),
      )
      const { code, stderr, stdout } = await team.dploy('deploy', 'production', '--plain')
      assert.equal(code, 0, stdout.toString() + stderr)
    })
    after(async () => team?.[Symbol.asyncDispose]())

    const texts = (stdout: Buffer) => stdout.toString().trim().split('\n')

    test('follows all servers, each line behind the name of its server, in order of time', async () => {
      const child = team.start('logs', 'production', '--follow', '-n', '5')
      const seen: string[] = []
      for await (const line of createInterface({ input: child.stdout! })) {
        seen.push(line)
        if (seen.length === 60) break
      }
      child.kill('SIGINT')
      const [code] = (await once(child, 'exit')) as [number]
      assert.equal(code, 0)
      for (const name of team.names) assert.ok(seen.filter((line) => line.startsWith(`${name} │ `)).length > 15, name)
      const times = seen.map((line) => Date.parse(line.split(' ')[2]!))
      const wrong = times.filter((at, index) => index > 0 && at < times[index - 1]! - 100)
      // On a machine that is busy a line may come later than lines are held back for.
      assert.ok(wrong.length <= 2, `${wrong.length} of ${times.length} lines come more than 100 ms after a later one`)
    })

    test('the last lines of all servers come in order of the time that they begin with', async () => {
      const { stdout } = await team.dploy('logs', 'production', '-n', '10')
      const lines = texts(stdout)
      assert.equal(lines.length, 20)
      const times = lines.map((line) => line.split(' ')[2]!)
      assert.deepEqual(times, times.toSorted())
    })

    test('only lines with a text, however far back, and none older than asked for', async () => {
      const warnings = texts(
        (await team.dploy('logs', 'production', '--on', 'web1', '-n', '3', '--grep', 'warning')).stdout,
      )
      assert.equal(warnings.length, 3)
      assert.ok(
        warnings.every((line) => /^web1 │ \S+ Warning web1 \d*0$/.test(line)),
        warnings.join('\n'),
      )
      const since = new Date(Date.now() - 300)
      const late = texts((await team.dploy('logs', 'production', '--since', since.toISOString(), '-n', '1000')).stdout)
      assert.ok(late.length > 0 && late.every((line) => Date.parse(line.split(' ')[2]!) >= since.getTime()))
      const { code, stderr } = await team.dploy('logs', 'production', '--since', 'yesterday-ish')
      assert.equal(code, 1)
      assert.match(stderr, /neither a duration nor a time[\s\S]*--since 10m/)
    })

    test('a command runs where the application does, with its variables', async () => {
      const { stdout } = await team.dploy('exec', '--on', 'web1', '--', 'ls; echo $DPLOY_RELEASE')
      assert.equal(stdout.toString(), 'server.cjs\n1\n')
    })
  },
)
