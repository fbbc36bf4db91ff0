import assert from 'node:assert/strict'
import { test } from 'node:test'
import { DployError } from '../../protocol/errors.ts'
import { Peer, type Carrier, type Handler } from '../../protocol/peer.ts'
import { newKeyPair, readPrivateKey } from '../../protocol/signature.ts'
import { protocolNumber } from '../../protocol/version.ts'
import { AgentLink } from './agent-link.ts'

/** A link to an agent that answers like this, its clock so far ahead. Milliseconds. */
function linkTo(handlers: Record<string, Handler>, clockSkew = 0): AgentLink {
  const make = (): Carrier => ({
    onFrame: () => {},
    onClose: () => {},
    send: async () => {},
    close() {},
    pause: () => () => {},
  })
  const [ours, theirs] = [make(), make()]
  ours.send = async (head, body = new Uint8Array(0)) =>
    void queueMicrotask(() => theirs.onFrame(structuredClone(head), body))
  theirs.send = async (head, body = new Uint8Array(0)) =>
    void queueMicrotask(() => ours.onFrame(structuredClone(head), body))
  new Peer(theirs, handlers)
  return new AgentLink({ id: 'srv_1', name: 'web1' }, new Peer(ours, {}), readPrivateKey(newKeyPair().privateKey), {
    version: '0.0.0',
    platform: 'linux-x64',
    clockSkew,
    roundTrip: 0,
    instance: 'one',
  })
}

const place = { application: 'shop', environment: 'production' }
const observe = (link: AgentLink) =>
  link.command('observe', { ...place, directory: '/srv/shop' }, { ...place, epoch: 0 })

test('an agent that answers what is no answer is told as that, by its name', async () => {
  for (const answer of [
    null,
    {},
    { current: '1' },
    { current: 1, releases: [{ number: 1, id: 'x', artifact: '../../etc' }], service: null, freeBytes: 1 },
  ]) {
    await assert.rejects(
      observe(linkTo({ command: async () => answer })),
      { code: 'protocol.invalid', message: /answered to observe is not valid/, where: 'web1' },
      JSON.stringify(answer),
    )
  }
  await assert.rejects(linkTo({ hello: async () => ({ protocol: 1 }) }).readClock(AbortSignal.timeout(1_000)), {
    code: 'protocol.invalid',
    where: 'web1',
  })
})

test('an error as long as a book is cut', async () => {
  const link = linkTo({
    command: async () =>
      Promise.reject(new DployError('hook.failed', 'x'.repeat(1_000_000), { fix: 'y'.repeat(100_000) })),
  })
  await assert.rejects(observe(link), ({ message, fix }: DployError) => message.length <= 20_001 && fix.length <= 2_001)
})

test('a command that is refused as expired by a clock that is ahead is told as that of the clock', async () => {
  const expired = async () =>
    Promise.reject(
      new DployError(
        'command.refused',
        'The command is refused: it expired 2100 s ago; check the clocks of server and control plane',
      ),
    )
  await assert.rejects(observe(linkTo({ command: expired }, 2_400_000)), {
    code: 'server.clock_skew',
    message: /clock of web1 is 40 min 0 s ahead/,
    where: 'web1',
  })
  await assert.rejects(observe(linkTo({ command: expired })), { code: 'command.refused' })
})

test('the clock of an agent is read anew, however long it is connected', async () => {
  let ahead = 0
  const link = linkTo({
    hello: async () => ({
      protocol: protocolNumber,
      server: 'srv_1',
      signature: '',
      version: '0.0.0',
      platform: 'linux-x64',
      instance: 'one',
      clock: Date.now() + ahead,
    }),
  })
  assert.ok(Math.abs((await link.readClock(AbortSignal.timeout(1_000))).clockSkew) < 500)
  ahead = 2_400_000
  assert.ok(Math.abs((await link.readClock(AbortSignal.timeout(1_000))).clockSkew - ahead) < 500)
  assert.ok(Math.abs(link.facts.clockSkew - ahead) < 500)
})
