import assert from 'node:assert/strict'
import { afterEach, describe, test } from 'node:test'
import { DployError } from '../../protocol/errors.ts'
import { atOnce, Upgrader, type UpgradeLink } from './upgrader.ts'

test('one agent first, then a tenth of those that are connected, and at least one', () => {
  const cases: [connected: number, proven: boolean, expected: number][] = [
    [1, false, 1],
    [500, false, 1],
    [10_000, false, 1],
    [1, true, 1],
    [9, true, 1],
    [10, true, 1],
    [19, true, 1],
    [20, true, 2],
    [100, true, 10],
    [10_000, true, 1_000],
  ]
  for (const [connected, proven, expected] of cases)
    assert.equal(atOnce(connected, proven), expected, `${connected}, ${proven}`)
})

const newer = 'b'.repeat(64)
const older = 'a'.repeat(64)

/** Agents of which each does with a new version what it is told to. */
class Agents {
  readonly asked: string[] = []
  readonly logged: string[] = []
  readonly links: UpgradeLink[]
  readonly upgrader: Upgrader

  constructor(servers: Record<string, 'takes it' | 'refuses it'>) {
    this.links = Object.entries(servers).map(([name, does]) => this.#link(name, older, does))
    const note = (_fields: unknown, text: string) => void this.logged.push(text)
    this.upgrader = new Upgrader({
      store: { servers: { memberships: async () => [] }, locks: { holder: async () => null } },
      gateway: { links: this.links },
      bundle: async () => ({ content: Buffer.from('program'), sha256: newer }),
      trialSeconds: 0,
      comeBack: 1,
      log: { info: note, warn: note, error: note } as never,
    })
  }

  /** It dials again, with this version. */
  async returns(name: string, digest: string): Promise<void> {
    const index = this.links.findIndex(({ server }) => server.name === name)
    this.links[index] = this.#link(name, digest, 'takes it')
    this.upgrader.arrived(this.links[index])
    await new Promise((resolve) => setTimeout(resolve, 10))
  }

  /** More time passes than an agent has to come back. */
  async later(): Promise<void> {
    await new Promise((resolve) => setTimeout(resolve, 20))
    await this.upgrader.look()
  }

  #link(name: string, digest: string, does: 'takes it' | 'refuses it'): UpgradeLink {
    const command = async (_method: string, { step }: { step: string }) => {
      if (step !== 'take') return {}
      this.asked.push(name)
      if (does === 'refuses it') throw new DployError('command.refused', 'systemd-run is not there')
      return {}
    }
    return { server: { id: name, name }, bundle: { digest, trial: false }, open: true, command: command as never }
  }
}

describe('a new version of the agent', () => {
  let agents: Agents
  afterEach(() => agents.upgrader[Symbol.dispose]())

  test('goes to one, and to the others once that one is back with it', async () => {
    agents = new Agents({ web1: 'takes it', web2: 'takes it' })
    await agents.upgrader.look()
    assert.deepEqual(agents.asked, ['web1'])
    await agents.returns('web1', newer)
    await agents.upgrader.look()
    assert.deepEqual(agents.asked, ['web1', 'web2'])
    assert.equal(agents.upgrader.problem('web1'), null)
  })

  test('goes to no other where the first comes back with the version before', async () => {
    agents = new Agents({ web1: 'takes it', web2: 'takes it' })
    await agents.upgrader.look()
    await agents.returns('web1', older)
    await agents.later()
    assert.deepEqual(agents.asked, ['web1'])
    assert.match(agents.upgrader.problem('web1')!, /did not come back there/)
    assert.match(agents.logged.join('\n'), /no other agent gets it/)
  })

  test('goes to another where a server does not take it, which is told of that server', async () => {
    agents = new Agents({ web1: 'refuses it', web2: 'takes it' })
    await agents.upgrader.look()
    await agents.later()
    assert.deepEqual(agents.asked, ['web1', 'web2'])
    assert.match(agents.upgrader.problem('web1')!, /systemd-run is not there/)
  })

  test('goes to another where the first is not heard of again, but to no third', async () => {
    agents = new Agents({ web1: 'takes it', web2: 'takes it', web3: 'takes it' })
    await agents.upgrader.look()
    await agents.later()
    assert.deepEqual(agents.asked, ['web1', 'web2'])
    await agents.later()
    await agents.later()
    assert.deepEqual(agents.asked, ['web1', 'web2'])
    assert.match(agents.upgrader.problem('web2')!, /not heard of again/)
    // The first was switched off only, and comes back with it: it is a version that runs.
    await agents.returns('web1', newer)
    await agents.later()
    assert.deepEqual(agents.asked, ['web1', 'web2', 'web3'])
    assert.equal(agents.upgrader.problem('web1'), null)
  })

  test('once it runs somewhere, a server that goes back keeps no other from it', async () => {
    agents = new Agents({ web1: 'takes it', web2: 'takes it', web3: 'takes it' })
    await agents.upgrader.look()
    await agents.returns('web1', newer)
    await agents.returns('web2', older)
    await agents.later()
    assert.deepEqual(agents.asked, ['web1', 'web2', 'web3'])
    assert.match(agents.upgrader.problem('web2')!, /runs the version before/)
  })
})
