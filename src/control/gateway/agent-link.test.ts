import assert from 'node:assert/strict'
import { test } from 'node:test'
import { Peer, type Carrier } from '../../protocol/peer.ts'
import { newKeyPair, readPrivateKey } from '../../protocol/signature.ts'
import { protocolNumber } from '../../protocol/version.ts'
import { AgentLink } from './agent-link.ts'

test('the clock of an agent is read anew, however long it is connected', async () => {
  const make = (): Carrier => ({ onFrame: () => {}, onClose: () => {}, send: async () => {}, close() {}, pause: () => () => {} })
  const [ours, theirs] = [make(), make()]
  ours.send = async (head, body = new Uint8Array(0)) => void queueMicrotask(() => theirs.onFrame(structuredClone(head), body))
  theirs.send = async (head, body = new Uint8Array(0)) => void queueMicrotask(() => ours.onFrame(structuredClone(head), body))
  let ahead = 0
  new Peer(theirs, { hello: async () => ({ protocol: protocolNumber, server: 'srv_1', signature: '', version: '0.0.0', platform: 'linux-x64', instance: 'one', clock: Date.now() + ahead }) })
  const link = new AgentLink({ id: 'srv_1', name: 'web1' }, new Peer(ours, {}), readPrivateKey(newKeyPair().privateKey), { version: '0.0.0', platform: 'linux-x64', clockSkew: 0, roundTrip: 0, instance: 'one' })
  assert.ok(Math.abs((await link.readClock(AbortSignal.timeout(1_000))).clockSkew) < 500)
  ahead = 2_400_000
  assert.ok(Math.abs((await link.readClock(AbortSignal.timeout(1_000))).clockSkew - ahead) < 500)
  assert.ok(Math.abs(link.facts.clockSkew - ahead) < 500)
})
