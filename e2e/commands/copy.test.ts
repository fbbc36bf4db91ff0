import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { createHash, randomBytes } from 'node:crypto'
import { chmodSync, mkdirSync, readdirSync, readFileSync, statSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { after, before, describe, test } from 'node:test'
import { setTimeout as delay } from 'node:timers/promises'
import { ended, memoryOf, Team } from './team.ts'

const MB = 1024 * 1024

describe(
  'dploy copy',
  { skip: process.platform === 'linux' ? false : 'needs /proc', concurrency: 1, timeout: 120_000 },
  () => {
    let team: Team
    const content = randomBytes(30 * MB)
    const digest = (bytes: Buffer) => createHash('sha256').update(bytes).digest('hex')
    before(async () => {
      team = await Team.up({ servers: 3 })
      writeFileSync(join(team.directory, 'big'), content)
      for (const name of team.names) mkdirSync(join(team.root(name), 'tmp'))
    })
    after(async () => team?.[Symbol.asyncDispose]())

    const until = async (met: () => boolean, what: string) => {
      for (const deadline = Date.now() + 20_000; !met(); await delay(5)) assert.ok(Date.now() < deadline, what)
    }
    const leftovers = (directory: string) => readdirSync(directory).filter((name) => name.includes('.dploy-'))

    test('brings a file to all servers, with its bytes and mode, and no memory grows', async () => {
      chmodSync(join(team.directory, 'big'), 0o640)
      const before = memoryOf(team.controlPid)
      const { code, stdout, stderr } = await team.dploy('copy', 'big', 'production:/tmp/')
      assert.equal(code, 0, stderr)
      assert.match(stdout.toString(), /web1, web2, web3/)
      for (const name of team.names) {
        const path = join(team.root(name), 'tmp/big')
        assert.equal(digest(readFileSync(path)), digest(content))
        assert.equal(statSync(path).mode & 0o777, 0o640)
        assert.deepEqual(leftovers(join(team.root(name), 'tmp')), [])
      }
      assert.ok(memoryOf(team.controlPid, 'VmHWM') < before + 150 * MB)
    })

    test('brings a file from one server here, and from several each into a directory of its own', async () => {
      assert.equal((await team.dploy('copy', 'web2:/tmp/big', 'back')).code, 0)
      assert.equal(digest(readFileSync(join(team.directory, 'back'))), digest(content))
      for (const name of team.names) writeFileSync(join(team.root(name), 'tmp/name'), name)
      const { code, stderr } = await team.dploy('copy', 'production:/tmp/name', 'all/')
      assert.equal(code, 0, stderr)
      assert.deepEqual(
        team.names.map((name) => readFileSync(join(team.directory, 'all', name, 'name'), 'utf8')),
        team.names,
      )
    })

    test('files of every size around the buffers come whole, there and back', async () => {
      const KB = 1024
      const sizes = [1, ...[64, 256, 512, 1024].flatMap((kb) => [kb * KB - 1, kb * KB, kb * KB + 1])]
      const files = sizes.map((size) => [`size-${size}`, randomBytes(size)] as const)
      for (const [name, bytes] of files) writeFileSync(join(team.directory, name), bytes)
      for (const [name, bytes] of files) {
        const file = { name, size: bytes.length, mode: 0o600, digest: digest(bytes) }
        const { outcomes } = await team.client.copyTo(
          {
            params: { application: 'shop', environment: 'production' },
            query: { server: ['web1'], path: '/tmp/', ...file },
          },
          (async function* () {
            yield bytes
          })(),
        )
        assert.equal(outcomes[0]!.problem, null)
        assert.equal(digest(readFileSync(join(team.root('web1'), 'tmp', name))), digest(bytes))
        const hash = createHash('sha256')
        for await (const event of team.client.stream('copyFrom', {
          params: { application: 'shop', environment: 'production' },
          query: { server: ['web1'], path: `/tmp/${name}` },
        }))
          if (event.kind === 'data') hash.update(Buffer.from(event.base64, 'base64'))
        assert.equal(hash.digest('hex'), digest(bytes))
      }
    })

    test('an empty file is a file too', async () => {
      writeFileSync(join(team.directory, 'empty'), '')
      assert.equal((await team.dploy('copy', 'empty', 'web1:/tmp/empty')).code, 0)
      assert.equal((await team.dploy('copy', 'web1:/tmp/empty', 'empty-back')).code, 0)
      assert.equal(statSync(join(team.directory, 'empty-back')).size, 0)
    })

    test('a copy that is ended in the middle changes nothing', async () => {
      writeFileSync(join(team.root('web1'), 'tmp/kept'), 'as it was')
      writeFileSync(join(team.directory, 'huge'), Buffer.alloc(400 * MB))
      for (const signal of ['SIGINT', 'SIGKILL'] as const) {
        const child = team.start('copy', 'huge', 'web1:/tmp/kept')
        const exit = new Promise((resolve) => child.once('exit', resolve))
        for (
          const deadline = Date.now() + 20_000;
          leftovers(join(team.root('web1'), 'tmp')).length === 0;
          await delay(5)
        )
          assert.ok(Date.now() < deadline)
        child.kill(signal)
        await exit
        for (
          const deadline = Date.now() + 10_000;
          leftovers(join(team.root('web1'), 'tmp')).length > 0;
          await delay(20)
        )
          assert.ok(Date.now() < deadline, 'something is left')
        assert.equal(readFileSync(join(team.root('web1'), 'tmp/kept'), 'utf8'), 'as it was')
      }
    })

    test('a copy whose agent is killed in the middle is told, and the agent that comes back removes what is left', async () => {
      const tmp = join(team.root('web2'), 'tmp')
      const child = team.start('copy', 'huge', 'web2:/tmp/lost')
      const outcome = ended(child)
      await until(() => leftovers(tmp).length > 0, 'it begins')
      await team.restartAgent(1, async () => {
        const { code, stderr } = await outcome
        assert.notEqual(code, 0)
        assert.match(stderr, /web2/)
        assert.equal(leftovers(tmp).length, 1, 'kill -9 leaves a part')
      })
      await until(() => leftovers(tmp).length === 0, 'it is removed')
      assert.ok(!readdirSync(tmp).includes('lost'))
      await team.untilConnected(30_000)
    })

    test('a copy from a server that is killed here leaves nothing here', async () => {
      writeFileSync(join(team.root('web1'), 'tmp/huge'), Buffer.alloc(400 * MB))
      const child = team.start('copy', 'web1:/tmp/huge', 'from-web1')
      const exit = new Promise((resolve) => child.once('exit', resolve))
      await until(() => leftovers(team.directory).length > 0, 'it begins')
      child.kill('SIGKILL')
      await exit
      await until(() => leftovers(team.directory).length === 0, 'it is removed')
      assert.ok(!readdirSync(team.directory).includes('from-web1'))
    })

    test('a named pipe is not waited for', async () => {
      assert.equal(spawnSync('mkfifo', [join(team.root('web1'), 'tmp/pipe')]).status, 0)
      const { code, stderr } = await team.dploy('copy', 'web1:/tmp/pipe', 'pipe')
      assert.equal(code, 1)
      assert.match(stderr, /no regular file/)
    })

    test('what does not arrive as it was announced is thrown away', async () => {
      const query = {
        server: ['web1'],
        path: '/tmp/wrong',
        name: 'wrong',
        size: 4,
        mode: 0o600,
        digest: digest(Buffer.from('good')),
      }
      const params = { application: 'shop', environment: 'production' }
      for (const bytes of ['evil', 'go', 'goodness']) {
        const { outcomes } = await team.client.copyTo(
          { params, query },
          (async function* () {
            yield Buffer.from(bytes)
          })(),
        )
        assert.equal(outcomes[0]!.problem?.code, 'file.changed')
      }
      assert.ok(!readdirSync(join(team.root('web1'), 'tmp')).some((name) => name.includes('wrong')))
    })

    test('says what is wrong', async () => {
      for (const [args, message] of [
        [['nothing', 'web1:/tmp/x'], /file\.unreadable/],
        [['all', 'web1:/tmp/x'], /is a directory[\s\S]*tar czf/],
        [['big', 'web1:/tmp/../../x'], /path\.unsafe/],
        [['big', 'web1:x'], /web1:\/tmp\/x/],
        [['big', 'web7:/x'], /no server and no environment web7/],
        [['big', 'web1:/nowhere/x'], /file\.unwritable/],
        [['web1:/tmp', '.'], /is a directory/],
        [['web1:/tmp/nothing', '.'], /file\.unreadable/],
        [['web1:/tmp/big', 'nowhere/'], /no directory nowhere/],
        [['big', 'other'], /One of the two/],
      ] as const) {
        const { code, stderr } = await team.dploy('copy', ...args)
        assert.equal(code, 1, args.join(' '))
        assert.match(stderr, message)
      }
    })
  },
)
