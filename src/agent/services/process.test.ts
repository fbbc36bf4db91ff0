import assert from 'node:assert/strict'
import { readdirSync, readFileSync } from 'node:fs'
import { test } from 'node:test'
import { managerContract } from './contract-suite.ts'
import {
  freePorts,
  lives,
  makeWorld,
  until,
  untilAnswers,
  type ManagerSubject,
  type ManagerWorld,
} from './contract-world.ts'

const subject: ManagerSubject = {
  kind: 'process',
  skip: process.platform === 'linux' ? false : 'needs /proc',
  ownsProcesses: true,
}

managerContract(subject)

test(
  'a keeper that is killed leaves the application running; the next one knows it, watches it and ends it',
  { skip: subject.skip },
  async () => {
    await using world = makeWorld(subject)
    const [port] = await freePorts(1)
    await world.start({ number: 1, ports: [port!] })
    const { pid } = await untilAnswers(port!)
    const killKeeper = async () => {
      const keeper = keeperOf(world)
      assert.notEqual(keeper, null)
      process.kill(keeper!, 'SIGKILL')
      await until(() => !lives(keeper!))
    }

    await killKeeper()
    assert.equal((await untilAnswers(port!)).pid, pid, 'nobody ended it')
    const seen = await world.manager.observe()
    assert.deepEqual([seen.state, seen.release, seen.pids], ['running', 1, [pid]])

    // One that dies while there is no keeper is started again by the next.
    await killKeeper()
    process.kill(pid, 'SIGKILL')
    await world.manager.ensure()
    const next = await untilAnswers(port!, (told) => told.pid !== pid)

    await killKeeper()
    // The next one is there as soon as the end of the last was seen; before that a change would be asked of one that is no more.
    await until(() => keeperOf(world) !== null)
    await world.start({ number: 2, ports: [port!] })
    const last = await untilAnswers(port!, (told) => told.pid !== next.pid)
    assert.equal(lives(next.pid), false, 'the new keeper ended what the old one had started')
    assert.equal((await world.manager.observe()).release, 2)
    assert.ok(lives(last.pid))
  },
)

/** The process of this world's keeper; null: there is none. */
function keeperOf(world: ManagerWorld): number | null {
  for (const name of readdirSync('/proc')) {
    if (!/^\d+$/.test(name)) continue
    try {
      const args = readFileSync(`/proc/${name}/cmdline`, 'utf8').split('\0')
      if (args.includes('keeper') && args.some((arg) => arg.startsWith(world.directory)) && lives(Number(name)))
        return Number(name)
    } catch {
      // It has ended meanwhile.
    }
  }
  return null
}
