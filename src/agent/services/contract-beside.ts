import assert from 'node:assert/strict'
import { test } from 'node:test'
import {
  ask,
  freePorts,
  lives,
  makeWorld,
  patience,
  until,
  untilAnswers,
  type ManagerSubject,
  type ManagerWorld,
  type Told,
} from './contract-world.ts'

/** Registers the tests for managers that can keep releases beside each other. */
export function registerBeside(subject: ManagerSubject): void {
  test('a release boots beside another on a port of its own, takes its place at once, and the other ends', async () => {
    await using world = makeWorld(subject)
    const { beside } = parts(world)
    const [one, two] = await freePorts(2)
    await beside.start('1', world.release({ number: 1, ports: [one!] }), [])
    await beside.serve('1')
    const first = await untilAnswers(one!)
    assert.equal(first.cwd, world.releasePath(1))
    await beside.start('2', world.release({ number: 2, ports: [two!] }), [])
    const second = await untilAnswers(two!)
    assert.equal(second.cwd, world.releasePath(2))
    assert.deepEqual(
      (await beside.runs())
        .map(({ name, serving, pids }) => ({ name, serving, pids }))
        .toSorted((a, b) => a.name.localeCompare(b.name)),
      [
        { name: '1', serving: true, pids: [first.pid] },
        { name: '2', serving: false, pids: [second.pid] },
      ],
    )
    assert.equal((await world.manager.observe()).release, 1)
    await beside.serve('2')
    const seen = await world.manager.observe()
    assert.deepEqual([seen.state, seen.release, seen.pids], ['running', 2, [second.pid]])
    assert.equal((await untilAnswers(one!)).pid, first.pid)
    assert.deepEqual(await beside.end('1'), { killed: false })
    assert.equal(lives(first.pid), false)
    assert.equal((await untilAnswers(two!)).pid, second.pid)
    assert.deepEqual(await beside.end('1'), { killed: false })
  })

  test('each release ends by its own definition', async () => {
    await using world = makeWorld(subject)
    const { beside } = parts(world)
    const [one, two] = await freePorts(2)
    await beside.start(
      '1',
      world.release({
        number: 1,
        ports: [one!],
        env: { STUBBORN: '1' },
        service: { stop: { signal: 'SIGINT', timeout: 500 } },
      }),
      [],
    )
    await beside.serve('1')
    const { pid } = await untilAnswers(one!)
    await beside.start('2', world.release({ number: 2, ports: [two!] }), [])
    await untilAnswers(two!)
    await beside.serve('2')
    assert.deepEqual(await beside.end('1'), { killed: true })
    assert.equal(lives(pid), false)
    await until(async () => (await world.lines()).includes('got SIGINT'))
  })

  test('the end of a release that is only beside is not that of the service', async () => {
    await using world = makeWorld(subject)
    const { beside, manager } = parts(world)
    const [one, two] = await freePorts(2)
    await beside.start('1', world.release({ number: 1, ports: [one!] }), [])
    await beside.serve('1')
    await untilAnswers(one!)
    await beside.start('2', world.release({ number: 2, ports: [two!] }), [])
    await untilAnswers(two!)
    const stop = new AbortController()
    const serviceEnds = manager.exited(stop.signal)
    const secondEnds = beside.exited('2', AbortSignal.timeout(patience))
    serviceEnds.catch(() => {})
    secondEnds.catch(() => {})
    await manager.observe()
    await ask(two!, '/crash?code=7&text=out%20of%20luck').catch(() => {})
    await assert.rejects(secondEnds, { code: 'service.exited', message: /code 7[^]*out of luck/ })
    stop.abort(new Error('enough'))
    await assert.rejects(serviceEnds, /enough/)
  })

  test('two releases accept on one socket that outlives both, and nothing is refused while one takes over from the other', async () => {
    await using world = makeWorld(subject)
    const { beside } = parts(world)
    const [port] = await freePorts(1)
    const address = { host: null, port: port! }
    assert.equal(await beside.holds(address), false)
    await beside.start('1', world.release({ number: 1, ports: [port!] }), [address])
    await beside.serve('1')
    const first = await untilAnswers(port!)
    assert.deepEqual(
      [first.env['LISTEN_FDS'], first.env['LISTEN_PID'], first.env['PORT']],
      ['1', String(first.pid), String(port)],
    )
    assert.equal(await beside.holds(address), true)
    const answers: Told[] = []
    let asking = true
    const users = Promise.all(
      Array.from({ length: 4 }, async () => {
        while (asking) answers.push(JSON.parse(await ask(port!, '/')) as Told)
      }),
    )
    users.catch(() => {})
    await beside.start('2', world.release({ number: 2, ports: [port!] }), [address])
    await until(() => answers.some(({ cwd }) => cwd === world.releasePath(2)))
    await beside.serve('2')
    await beside.end('1')
    const since = answers.length
    await until(() => answers.length > since + 20)
    asking = false
    await users
    assert.ok(answers.slice(since + 4).every(({ cwd }) => cwd === world.releasePath(2)))
    assert.equal(lives(first.pid), false)
    await beside.end('2')
    assert.equal(await beside.holds(address), false)
    await assert.rejects(ask(port!, '/'))
  })

  test('a release starts on the socket while another takes its time to end', async () => {
    await using world = makeWorld(subject)
    const { beside } = parts(world)
    const [port] = await freePorts(1)
    const address = { host: null, port: port! }
    await beside.start(
      '1',
      world.release({
        number: 1,
        ports: [port!],
        env: { STUBBORN: '1' },
        service: { stop: { signal: 'SIGTERM', timeout: 5_000 } },
      }),
      [address],
    )
    await untilAnswers(port!)
    const ending = beside.end('1')
    const began = performance.now()
    await beside.start('2', world.release({ number: 2, ports: [port!] }), [address])
    await untilAnswers(port!, ({ cwd }) => cwd === world.releasePath(2))
    assert.ok(performance.now() - began < 4_000)
    assert.deepEqual(await ending, { killed: true })
    await untilAnswers(port!)
  })

  test('several instances share one socket, and one that crashes comes back to it', async () => {
    await using world = makeWorld(subject)
    const { beside } = parts(world)
    const [port] = await freePorts(1)
    await beside.start('1', world.release({ number: 1, ports: [port!, port!, port!], service: { instances: 3 } }), [
      { host: null, port: port! },
    ])
    await beside.serve('1')
    await untilAnswers(port!)
    const pids = async () => (await world.manager.observe()).pids
    await until(async () => (await pids()).length === 3)
    const [victim] = await pids()
    process.kill(victim!, 'SIGKILL')
    await until(async () => (await pids()).length === 3 && !(await pids()).includes(victim!))
    await untilAnswers(port!)
  })

  test('a connection that comes while nobody accepts waits until the release is back, and others can still be started', async () => {
    await using world = makeWorld(subject)
    const { beside } = parts(world)
    const [port, other] = await freePorts(2)
    await beside.start('1', world.release({ number: 1, ports: [port!] }), [{ host: null, port: port! }])
    await beside.serve('1')
    const { pid } = await untilAnswers(port!)
    process.kill(pid, 'SIGKILL')
    await until(() => !lives(pid))
    assert.notEqual((JSON.parse(await ask(port!, '/')) as Told).pid, pid)
    await beside.start('2', world.release({ number: 2, ports: [other!] }), [{ host: '127.0.0.1', port: other! }])
    assert.equal((await untilAnswers(other!)).cwd, world.releasePath(2))
  })

  test('what is beside survives a new agent, and ends with the service', async () => {
    await using world = makeWorld(subject)
    const { beside } = parts(world)
    const [one, two] = await freePorts(2)
    await beside.start('1', world.release({ number: 1, ports: [one!] }), [])
    await beside.serve('1')
    await beside.start('2', world.release({ number: 2, ports: [two!] }), [])
    const told = [await untilAnswers(one!), await untilAnswers(two!)]
    const next = world.open()
    assert.equal((await next.beside!.runs()).length, 2)
    assert.equal((await next.observe()).release, 1)
    await next.stop()
    for (const { pid } of told) assert.equal(lives(pid), false)
    assert.deepEqual(await next.beside!.runs(), [])
  })

  test('a release that is to be alone ends those beside each other, and takes their port', async () => {
    await using world = makeWorld(subject)
    const { beside } = parts(world)
    const [port] = await freePorts(1)
    await beside.start('1', world.release({ number: 1, ports: [port!] }), [{ host: null, port: port! }])
    await beside.serve('1')
    const { pid } = await untilAnswers(port!)
    await world.start({ number: 2, ports: [port!] })
    const next = await untilAnswers(port!, (told) => told.pid !== pid)
    assert.equal(next.env['LISTEN_FDS'], undefined)
    assert.deepEqual(
      (await beside.runs()).filter(({ serving }) => !serving),
      [],
    )
  })
}

function parts(world: ManagerWorld) {
  return { manager: world.manager, beside: world.manager.beside! }
}
