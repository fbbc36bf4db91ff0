import assert from 'node:assert/strict'
import { createHash } from 'node:crypto'
import { once } from 'node:events'
import { existsSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { after, before, describe, test } from 'node:test'
import { setTimeout as delay } from 'node:timers/promises'
import { ended, memoryOf, Team } from './team.ts'

const MB = 1024 * 1024

/** Waits for what becomes true; says what did not. */
async function until(what: string, check: () => boolean, patience = 20_000): Promise<void> {
  for (const deadline = Date.now() + patience; !check(); await delay(20))
    if (Date.now() > deadline) assert.fail(`not within ${patience} ms: ${what}`)
}

function lives(pid: number): boolean {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, 'latin1')
    return !/^[ZX]/.test(stat.slice(stat.lastIndexOf(')') + 2))
  } catch {
    return false
  }
}

describe(
  'dploy exec on three servers',
  { skip: process.platform === 'linux' ? false : 'needs /proc', concurrency: 1, timeout: 180_000 },
  () => {
    let team: Team
    before(async () => {
      team = await Team.up({ servers: 3, tags: (index) => ({ role: index < 2 ? 'web' : 'job' }) })
    })
    after(async () => team?.[Symbol.asyncDispose]())

    /** Process ids that a command wrote into a file `pids` on each server. */
    const pids = (file: string) =>
      team.names.flatMap((name) =>
        existsSync(join(team.root(name), file))
          ? readFileSync(join(team.root(name), file), 'utf8')
              .trim()
              .split(/\s+/)
              .map(Number)
          : [],
      )

    test('shows answers that are the same once', async () => {
      const { code, stdout, stderr } = await team.dploy('exec', 'production', '--', 'echo', 'hello  there')
      assert.equal(code, 0, stderr)
      assert.equal(stdout.toString(), '3 servers: hello  there  (web1, web2, web3)\n')
      assert.match(stderr, /^3 servers: code 0 · /)
    })

    test('answers with the code on which all that failed agree', async () => {
      const { code, stdout } = await team.dploy(
        'exec',
        'production',
        '--',
        'test $DPLOY_SERVER = web2 && exit 0; echo no; exit 7',
      )
      assert.equal(code, 7)
      assert.equal(stdout.toString(), '2 servers, code 7: no  (web1, web3)\nweb2: no output\n')
    })

    test('puts nothing into the command that a person typed', async () => {
      const { stdout } = await team.dploy('exec', '--on', 'web1', '--', 'printf', '%s|', '$HOME', '; echo x', "'", '*')
      assert.equal(stdout.toString(), "$HOME|; echo x|'|*|")
    })

    test('gives the bytes of one server as they are, each stream where it belongs', async () => {
      const { code, stdout, stderr } = await team.dploy(
        'exec',
        '--on',
        'web1',
        '--',
        String.raw`printf '\377\000\303\244a'; echo oops >&2`,
      )
      assert.equal(code, 0)
      assert.deepEqual([...stdout], [0xff, 0x00, 0xc3, 0xa4, 0x61])
      assert.equal(stderr, 'oops\n')
    })

    test('chooses servers by their tags, and stops after a batch in which one failed', async () => {
      const tagged = await team.dploy('exec', '--tag', 'role=web', '--', 'true')
      assert.equal(tagged.stdout.toString(), '2 servers: no output  (web1, web2)\n')
      const serial = await team.dploy('exec', '--serial', '--', 'echo run >> serial; test $DPLOY_SERVER != web2')
      assert.equal(serial.code, 1)
      assert.deepEqual(
        team.names.map((name) => existsSync(join(team.root(name), 'serial'))),
        [true, true, false],
      )
      assert.match(serial.stderr, /web3: not begun/)
    })

    test('takes batches one after the other, the servers of one together, and stops after one in which one failed', async () => {
      const waits =
        'case $DPLOY_SERVER in web3) test -e ../ended.web1 && test -e ../ended.web2;; *) touch ../began.$DPLOY_SERVER; until test -e ../began.web1 && test -e ../began.web2; do sleep 0.05; done; touch ../ended.$DPLOY_SERVER;; esac'
      const { code, stderr } = await team.dploy('exec', '--batch', '2', '--timeout', '20s', '--', waits)
      assert.equal(code, 0, stderr)
      const failed = await team.dploy('exec', '--batch', '2', '--', 'touch batch; test $DPLOY_SERVER != web1')
      assert.equal(failed.code, 1)
      assert.deepEqual(
        team.names.map((name) => existsSync(join(team.root(name), 'batch'))),
        [true, true, false],
      )
      assert.match(failed.stderr, /web3: not begun/)
      const wrong = await team.dploy('exec', '--batch', 'half', '--', 'true')
      assert.notEqual(wrong.code, 0)
      assert.match(wrong.stderr, /"half" is not a number of servers/)
    })

    test(
      '--sudo runs it as root, with the home of root',
      { skip: process.getuid?.() === 0 ? false : 'needs root' },
      async () => {
        const { code, stdout, stderr } = await team.dploy(
          'exec',
          '--on',
          'web1',
          '--sudo',
          '--',
          'id -un; echo $HOME $USER',
        )
        assert.equal(code, 0, stderr)
        assert.equal(stdout.toString(), 'root\n/root root\n')
      },
    )

    test('says what is wrong with a tag, a server, a user and a missing command', async () => {
      for (const [args, message] of [
        [['--tag', 'role=nothing', '--', 'true'], /tags there are: role=web, role=job/],
        [['--on', 'web9', '--', 'true'], /There is no server web9 .*web1, web2, web3/],
        [['--user', 'no-such-user', '--on', 'web1', '--', 'true'], /server\.user_unknown/],
        [['production'], /dploy exec production -- uptime/],
        [['production', 'oops', '--', 'true'], /"oops" stands between/],
      ] as const) {
        const { code, stderr } = await team.dploy('exec', ...args)
        assert.notEqual(code, 0)
        assert.match(stderr, message)
      }
    })

    test('ends the whole process group when its time is up', async () => {
      const { code, stderr } = await team.dploy(
        'exec',
        '--timeout',
        '500ms',
        '--',
        'sleep 600 & echo $$ $! > late; sleep 600',
      )
      assert.equal(code, 124, stderr)
      const left = pids('late')
      assert.equal(left.length, 6)
      await until('all have ended', () => !left.some(lives))
    })

    test('Ctrl-C ends it on all servers, whole process groups', async () => {
      const child = team.start(
        'exec',
        'production',
        '--',
        'trap "echo interrupted; exit 9" INT; sleep 600 & echo $$ $! > pids; wait',
      )
      const end = ended(child)
      await until('all run', () => pids('pids').length === 6)
      child.kill('SIGINT')
      const { code, stdout } = await end
      assert.equal(code, 130)
      assert.match(stdout.toString(), /3 servers, code 9: interrupted/)
      const left = pids('pids')
      await until('all have ended', () => !left.some(lives))
    })

    test('a CLI that is killed leaves nothing running', async () => {
      const child = team.start('exec', 'production', '--', 'sleep 600 & echo $$ $! > orphans; wait')
      await until('all run', () => pids('orphans').length === 6)
      child.kill('SIGKILL')
      const left = pids('orphans')
      await until('all have ended', () => !left.some(lives))
    })

    test(
      'runs as another user, with the groups of that user',
      { skip: process.getuid?.() === 0 ? false : 'needs root' },
      async () => {
        const { code, stdout, stderr } = await team.dploy(
          'exec',
          '--on',
          'web1',
          '--user',
          'nobody',
          '--',
          'id -un; echo $HOME; id -Gn',
        )
        assert.equal(code, 0, stderr)
        assert.match(stdout.toString(), /^nobody\n\/nonexistent\nnogroup\n$/)
      },
    )

    test('a reader that goes away early ends it without a complaint', async () => {
      const child = team.start('exec', '--on', 'web1', '--', 'yes')
      await once(child.stdout!, 'data')
      child.stdout!.destroy()
      const [code] = (await once(child, 'close')) as [number]
      // As a program that SIGPIPE ends.
      assert.equal(code, 141)
    })

    test('every run is in the record: who, what, where, and what came of it', async () => {
      await team.dploy('exec', '--on', 'web2', '--', 'exit 5')
      const { runs } = await team.client.call('runs', {
        params: { application: 'shop', environment: 'production' },
        query: {},
      })
      const [last] = runs
      assert.equal(last!.command, 'exit 5')
      assert.match(last!.requestedBy, /@/)
      assert.deepEqual(
        last!.outcomes.map(({ server, code }) => ({ server, code })),
        [{ server: 'web2', code: 5 }],
      )
      assert.ok(
        runs.every((run) => run.finishedAt !== null),
        'also those that were interrupted',
      )
      const { stdout } = await team.dploy('exec', '--history')
      assert.match(stdout.toString(), /exec\s+exit 5\s+web2: code 5/)
      const audit = await team.dploy('audit', '--action', 'exec', '--in', 'production')
      assert.equal(audit.code, 0, audit.stderr)
      assert.match(audit.stdout.toString(), /\bexec +shop\/production\b/)
    })
  },
)

test(
  'a control plane that is killed leaves nothing running on the servers',
  { skip: process.platform === 'linux' ? false : 'needs /proc', timeout: 60_000 },
  async () => {
    await using team = await Team.up({ servers: 1 })
    const child = team.start('exec', 'production', '--', 'sleep 600 & echo $$ $! > orphans; wait')
    const end = ended(child)
    const file = join(team.root('web1'), 'orphans')
    await until('it runs', () => existsSync(file) && readFileSync(file, 'utf8').trim().split(' ').length === 2)
    const pids = readFileSync(file, 'utf8').trim().split(' ').map(Number)
    process.kill(team.controlPid, 'SIGKILL')
    await until('all have ended', () => !pids.some(lives))
    const { code, stderr } = await end
    assert.equal(code, 1)
    assert.match(stderr, /connection\.closed/)
  },
)

describe(
  'dploy exec on sixteen servers that print 10 MB each',
  { skip: process.platform === 'linux' ? false : 'needs /proc', concurrency: 1, timeout: 240_000 },
  () => {
    let team: Team
    before(async () => {
      team = await Team.up({ servers: 16 })
    })
    after(async () => team?.[Symbol.asyncDispose]())

    /** What `yes LINE | head -c 10 MB` prints. */
    const expected = (name: string) => {
      const line = Buffer.from(`${name} prints this ${'x'.repeat(200)}\n`)
      return createHash('sha256')
        .update(Buffer.alloc(10 * MB, line))
        .digest('hex')
    }
    const command = `yes "$DPLOY_SERVER prints this ${'x'.repeat(200)}" | head -c 10485760`

    test('as lines for people every byte arrives, in order', async () => {
      const child = team.start('exec', 'production', '--', command)
      child.stderr!.resume()
      const hashes = new Map(team.names.map((name) => [name, createHash('sha256')]))
      const lengths = new Map(team.names.map((name) => [name, 0]))
      for await (const line of createInterface({ input: child.stdout! })) {
        const [, name, text] = /^(\S+) +│ (.*)$/.exec(line)!
        const left = 10 * MB - lengths.get(name!)!
        // The last line was cut by head, and ended by the view.
        const bytes = Buffer.from(`${text}\n`).subarray(0, left)
        lengths.set(name!, lengths.get(name!)! + bytes.length)
        hashes.get(name!)!.update(bytes)
      }
      for (const name of team.names) assert.equal(hashes.get(name)!.digest('hex'), expected(name), name)
    })

    test('sixteen times 10 MB more cost no more memory, though the reader stops for a while', async (context) => {
      const before = memoryOf(team.controlPid)
      const agents = () => team.agents.map(({ pid }) => memoryOf(pid!, 'VmHWM'))
      const agentsBefore = agents()
      const child = team.start('exec', 'production', '--json', '--', command)
      const hashes = new Map(team.names.map((name) => [name, createHash('sha256')]))
      let control = 0
      let cli = 0
      const watch = setInterval(() => {
        control = Math.max(control, memoryOf(team.controlPid))
        if (child.exitCode === null) cli = Math.max(cli, memoryOf(child.pid!))
      }, 50)
      try {
        let bytes = 0
        let paused = false
        for await (const line of createInterface({ input: child.stdout! })) {
          const event = JSON.parse(line) as { type: string; server: string; text: string }
          if (event.type !== 'output') continue
          hashes.get(event.server)!.update(event.text)
          bytes += Buffer.byteLength(event.text)
          if (paused || bytes < 20 * MB) continue
          paused = true
          // Nobody reads: what is printed has to wait where it is printed.
          child.stdout!.pause()
          const began = performance.now()
          const { servers } = await team.client.call('status', {
            params: { application: 'shop', environment: 'production' },
          })
          assert.ok(
            servers.every((server) => server.problem === null),
            'everything else goes on over the same connections',
          )
          context.diagnostic(`a status of 16 servers meanwhile: ${Math.round(performance.now() - began)} ms`)
          await delay(2_000)
          child.stdout!.resume()
        }
      } finally {
        clearInterval(watch)
      }
      for (const name of team.names) assert.equal(hashes.get(name)!.digest('hex'), expected(name), name)
      context.diagnostic(
        `control plane: ${Math.round(before / MB)} MB before, at most ${Math.round(control / MB)} MB; CLI: at most ${Math.round(cli / MB)} MB; agents: at most ${Math.round(Math.max(...agents()) / MB)} MB`,
      )
      assert.ok(
        control < before + 80 * MB,
        `the control plane grew from ${Math.round(before / MB)} to ${Math.round(control / MB)} MB`,
      )
      for (const [index, most] of agents().entries())
        assert.ok(
          most < agentsBefore[index]! + 20 * MB && most < 180 * MB,
          `the agent of ${team.names[index]} had ${Math.round(most / MB)} MB, ${Math.round(agentsBefore[index]! / MB)} before`,
        )
      assert.ok(cli < 250 * MB, `the CLI had ${Math.round(cli / MB)} MB`)
    })
  },
)
