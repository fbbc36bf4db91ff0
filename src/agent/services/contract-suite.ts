import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { registerBeside } from './contract-beside.ts'
import {
  ask,
  freePorts,
  lives,
  makeWorld,
  patience,
  until,
  untilAnswers,
  type ManagerSubject,
} from './contract-world.ts'

const root = process.getuid?.() === 0

/** Values that a shell, systemd or a careless parser would change. */
const awkwardValues: Record<string, string> = {
  EMPTY: '',
  SPACES: '  two  spaces around  ',
  SINGLE: "it's",
  DOUBLE: 'say "hello"',
  DOLLAR: '$HOME ${HOME} $$ $(id) `id`',
  PERCENT: '%h %% %n 100%',
  BACKSLASH: 'C:\\new\\table\\',
  LINES: 'first\nsecond\n\n  fourth\n',
  CONTINUED: 'one \\\ntwo',
  TAB: 'a\tb',
  COMMENT: '# not a comment ; nor this',
  EQUALS: 'a=b=c',
  UNICODE: 'Grüße, 世界 👋🏽 \u00a0é',
  BANG: '!important * ? [a] {b,c} ~ & | < > ()',
  LONG: 'x'.repeat(100_000),
}

/** Registers the tests that every service manager has to pass, with real processes. */
export function managerContract(subject: ManagerSubject): void {
  describe(`${subject.kind} keeps the contract of service managers`, { skip: subject.skip, timeout: 180_000 }, () => {
    test('before anything was started it is stopped, and has no log', async () => {
      await using world = makeWorld(subject)
      assert.deepEqual(await world.manager.observe(), {
        state: 'stopped',
        release: null,
        since: null,
        pids: [],
        restarts: 0,
      })
      assert.deepEqual(await world.lines(), [])
      await world.manager.stop()
    })

    test('the application gets its variables as they are, its port and its directory, and nothing of the agent', async () => {
      await using world = makeWorld(subject)
      const [port] = await freePorts(1)
      process.env.SECRET_OF_THE_AGENT = 'join token'
      try {
        await world.start({ number: 1, ports: [port!], env: awkwardValues })
      } finally {
        delete process.env.SECRET_OF_THE_AGENT
      }
      const told = await untilAnswers(port!)
      for (const [name, value] of Object.entries(awkwardValues)) assert.equal(told.env[name], value, name)
      assert.equal(told.env['PORT'], String(port))
      assert.equal(told.env['SECRET_OF_THE_AGENT'], undefined)
      assert.equal(told.cwd, world.releasePath(1))
      const seen = await world.manager.observe()
      assert.equal(seen.state, 'running')
      assert.equal(seen.release, 1)
    })

    test('a second release takes the place of the first, after whose end the switch is made', async () => {
      await using world = makeWorld(subject)
      const [port] = await freePorts(1)
      await world.start({ number: 1, ports: [port!] })
      const first = await untilAnswers(port!)
      let runs: boolean | null = null
      const { killed } = await world.start({ number: 2, ports: [port!] }, () => (runs = lives(first.pid)))
      if (subject.kind === 'process') assert.equal(runs, false)
      const second = await untilAnswers(port!, (told) => told.pid !== first.pid)
      assert.equal(killed, false)
      assert.equal(lives(first.pid), false)
      assert.equal(second.cwd, world.releasePath(2))
      assert.equal((await world.manager.observe()).release, 2)
    })

    test('what the application prints is in its log, the last lines and those that come', async () => {
      await using world = makeWorld(subject)
      const [port] = await freePorts(1)
      await world.start({ number: 1, ports: [port!] })
      await untilAnswers(port!)
      await ask(port!, '/print?text=one')
      await until(async () => (await world.lines()).includes('one on stderr'))
      assert.ok((await world.lines()).includes('one on stdout'))
      const last = await world.lines(2)
      assert.deepEqual(last.toSorted(), ['one on stderr', 'one on stdout'])

      const stop = new AbortController()
      const lines: string[] = []
      const followed = world.manager.logs({ lines: 1, follow: true, signal: stop.signal }, (line) =>
        lines.push(line.text),
      )
      try {
        await until(() => lines.length === 1)
        await ask(port!, '/print?text=Gr%C3%BC%C3%9Fe')
        await until(() => lines.includes('Grüße on stdout') && lines.includes('Grüße on stderr'))
      } finally {
        stop.abort()
        await followed.catch(() => {})
      }
    })

    test('the application survives a killed agent, and the next one knows it', async () => {
      await using world = makeWorld(subject)
      const [port] = await freePorts(1)
      await world.startFromAgentThatIsKilled({ number: 1, ports: [port!] })
      const told = await untilAnswers(port!)
      const seen = await world.manager.observe()
      assert.equal(seen.state, 'running')
      assert.equal(seen.release, 1)
      await world.manager.ensure()
      assert.equal((await untilAnswers(port!)).pid, told.pid)
      await world.start({ number: 2, ports: [port!] })
      await untilAnswers(port!, (next) => next.pid !== told.pid)
      assert.equal(lives(told.pid), false)
    })

    test('watching ends with its signal', async () => {
      await using world = makeWorld(subject)
      const [port] = await freePorts(1)
      await world.start({ number: 1, ports: [port!] })
      await untilAnswers(port!)
      const stop = new AbortController()
      const watched = world.manager.exited(stop.signal)
      stop.abort(new Error('enough'))
      await assert.rejects(watched)
    })

    if (subject.ownsProcesses) {
      registerProcesses(subject)
      registerBeside(subject)
    }
  })
}

function registerProcesses(subject: ManagerSubject): void {
  test('it runs as the user that is named, without groups of root', { skip: root ? false : 'not root' }, async () => {
    await using world = makeWorld(subject)
    const [port] = await freePorts(1)
    await world.start({
      number: 1,
      ports: [port!],
      service: { command: `${world.nodeForEverybody()} application.mjs`, user: 'nobody' },
    })
    const told = await untilAnswers(port!)
    assert.equal(told.uid, 65_534)
    assert.notEqual(told.gid, 0)
    assert.ok(!told.groups.includes(0))
  })

  test('a user that is not there is named', { skip: root ? false : 'not root' }, async () => {
    await using world = makeWorld(subject)
    await assert.rejects(world.start({ number: 1, ports: [], service: { user: 'nobody-of-this-name' } }), {
      code: 'service.manager_unavailable',
      message: /nobody-of-this-name/,
    })
  })

  for (const signal of ['SIGINT', 'SIGQUIT', 'SIGUSR2']) {
    test(`it asks the application to end by ${signal} where that is configured`, async () => {
      await using world = makeWorld(subject)
      const [port] = await freePorts(1)
      await world.start({ number: 1, ports: [port!], service: { stop: { signal, timeout: 10_000 } } })
      const { pid } = await untilAnswers(port!)
      const lines = await world.linesUntil(`got ${signal}`, () => world.start({ number: 2, ports: [port!] }))
      assert.equal(lives(pid), false)
      assert.ok(!lines.includes('got SIGTERM'))
    })
  }

  test('an application that ignores the signal is killed when its time is up, and not before', async () => {
    await using world = makeWorld(subject)
    const [port] = await freePorts(1)
    await world.start({
      number: 1,
      ports: [port!],
      env: { STUBBORN: '1' },
      service: { stop: { signal: 'SIGTERM', timeout: 700 } },
    })
    const { pid } = await untilAnswers(port!)
    const began = performance.now()
    const { killed } = await world.start({ number: 2, ports: [port!] })
    const took = performance.now() - began
    assert.equal(killed, true)
    assert.equal(lives(pid), false)
    assert.ok(took >= 695 && took < 5_000, `it took ${Math.round(took)} ms`)
    await untilAnswers(port!)
  })

  test('the whole process group ends, also a child that ignores the signal', async () => {
    await using world = makeWorld(subject)
    const [port] = await freePorts(1)
    await world.start({ number: 1, ports: [port!], service: { stop: { signal: 'SIGTERM', timeout: 500 } } })
    await untilAnswers(port!)
    const child = Number(await ask(port!, '/child'))
    assert.equal(lives(child), true)
    await world.start({ number: 2, ports: [port!] })
    assert.equal(lives(child), false)
    await untilAnswers(port!)
    await world.manager.stop()
    assert.equal((await world.manager.observe()).state, 'stopped')
    await assert.rejects(ask(port!, '/'))
  })

  test('a stopped service stays stopped, and can be started again', async () => {
    await using world = makeWorld(subject)
    const [port] = await freePorts(1)
    await world.start({ number: 1, ports: [port!] })
    await untilAnswers(port!)
    await world.manager.stop()
    await world.manager.ensure()
    assert.equal((await world.manager.observe()).state, 'stopped')
    await world.manager.stop()
    await world.start({ number: 1, ports: [port!] })
    await untilAnswers(port!)
  })

  test('a crash is told at once, with the code and what was printed last; the application is started again', async () => {
    await using world = makeWorld(subject)
    const [port] = await freePorts(1)
    await world.start({ number: 1, ports: [port!] })
    const { pid } = await untilAnswers(port!)
    const stop = AbortSignal.timeout(patience)
    const watched = world.manager.exited(stop)
    watched.catch(() => {})
    await world.manager.observe()
    await ask(port!, '/crash?code=7&text=out%20of%20luck').catch(() => {})
    const began = performance.now()
    await assert.rejects(watched, { code: 'service.exited', message: /code 7[^]*out of luck/ })
    assert.ok(performance.now() - began < 2_000)
    const next = await untilAnswers(port!, (told) => told.pid !== pid)
    assert.notEqual(next.pid, pid)
    await until(async () => (await world.manager.observe()).state === 'running')
    const seen = await world.manager.observe()
    assert.equal(seen.restarts, 1)
    assert.deepEqual(seen.pids, [next.pid])
  })

  test('an application that ends at once is told, and shown as failed between its starts', async () => {
    await using world = makeWorld(subject)
    await world.start({ number: 1, ports: [], service: { command: 'echo no database; exit 3' } })
    await assert.rejects(world.manager.exited(AbortSignal.timeout(patience)), {
      code: 'service.exited',
      message: /no database/,
    })
    await until(async () => (await world.manager.observe()).state === 'failed')
    await until(async () => (await world.manager.observe()).restarts >= 1)
    // However soon it ends: also before the manager has seen it run.
    for (const number of [2, 1, 2, 1, 2, 1]) {
      await world.start({ number, ports: [], service: { command: 'exit 3' } })
      await assert.rejects(world.manager.exited(AbortSignal.timeout(patience)), { code: 'service.exited' })
    }
  })

  test('an application that is killed is started again', async () => {
    await using world = makeWorld(subject)
    const [port] = await freePorts(1)
    await world.start({ number: 1, ports: [port!] })
    const { pid } = await untilAnswers(port!)
    process.kill(pid, 'SIGKILL')
    await untilAnswers(port!, (told) => told.pid !== pid)
  })

  test('several instances have a port each, one that crashes comes back alone, and fewer are fewer', async () => {
    await using world = makeWorld(subject)
    const ports = await freePorts(3)
    await world.start({ number: 1, ports, service: { instances: 3 } })
    const told = await Promise.all(ports.map((port) => untilAnswers(port)))
    assert.deepEqual(
      told.map(({ env }) => Number(env['PORT'])),
      ports,
    )
    assert.equal(new Set(told.map(({ pid }) => pid)).size, 3)
    const seen = await world.manager.observe()
    assert.equal(seen.state, 'running')
    assert.deepEqual(seen.pids.toSorted(), told.map(({ pid }) => pid).toSorted())
    const watched = world.manager.exited(AbortSignal.timeout(patience))
    watched.catch(() => {})
    await world.manager.observe()
    process.kill(told[1]!.pid, 'SIGKILL')
    await assert.rejects(watched, { code: 'service.exited' })
    await untilAnswers(ports[1]!, ({ pid }) => pid !== told[1]!.pid)
    assert.equal((await untilAnswers(ports[0]!)).pid, told[0]!.pid)
    assert.equal((await untilAnswers(ports[2]!)).pid, told[2]!.pid)
    await world.start({ number: 2, ports: ports.slice(0, 1) })
    await untilAnswers(ports[0]!, ({ pid }) => pid !== told[0]!.pid)
    for (const { pid } of told) assert.equal(lives(pid), false)
    assert.equal((await world.manager.observe()).pids.length, 1)
    await assert.rejects(ask(ports[2]!, '/'))
  })

  test('a service without a port runs all the same', async () => {
    await using world = makeWorld(subject)
    await world.start({ number: 1, ports: [], service: { instances: 2 } })
    await until(async () => (await world.lines()).filter((line) => line === 'begins').length === 2)
    const seen = await world.manager.observe()
    assert.equal(seen.state, 'running')
    assert.equal(seen.pids.length, 2)
  })

  test('two starts at the same time leave one application', async () => {
    await using world = makeWorld(subject)
    const [port] = await freePorts(1)
    await Promise.allSettled([world.start({ number: 1, ports: [port!] }), world.start({ number: 1, ports: [port!] })])
    const told = await untilAnswers(port!)
    await until(async () => {
      const { pids } = await world.manager.observe()
      return pids.length === 1 && pids[0] === told.pid
    })
    assert.equal((await world.manager.observe()).state, 'running')
  })

  test('a command line of the shell is run by one, whatever characters it has', async () => {
    await using world = makeWorld(subject)
    const command = `V='50% of $HOME'; printf '%s|%s|%s\\n' "$V" "\${GREETING}" 'tab\tü "q" \\' && exec sleep 60`
    await world.start({ number: 1, ports: [], env: { GREETING: 'hello' }, service: { command } })
    const printed = async () => (await world.lines()).filter((line) => line.includes('|'))
    await until(async () => (await printed()).length > 0)
    assert.deepEqual(await printed(), [`50% of $HOME|hello|tab\tü "q" \\`])
  })
}
