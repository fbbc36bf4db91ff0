import assert from 'node:assert/strict'
import { createPrivateKey, randomUUID } from 'node:crypto'
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import { Agent } from '../../src/agent/agent.ts'
import { Journal } from '../../src/agent/journal.ts'
import { Peer, type Carrier } from '../../src/protocol/peer.ts'
import { newKeyPair, sha256, signText } from '../../src/protocol/signature.ts'

/** Two carriers of which each gives the other what it is sent. */
function joined(): [Carrier, Carrier] {
  const make = (): Carrier => ({ onFrame: () => {}, onClose: () => {}, send: async () => {}, close() {} })
  const [one, other] = [make(), make()]
  one.send = async (head, body = new Uint8Array(0)) => void queueMicrotask(() => other.onFrame(structuredClone(head), body))
  other.send = async (head, body = new Uint8Array(0)) => void queueMicrotask(() => one.onFrame(structuredClone(head), body))
  return [one, other]
}

test('a command of a person that comes again is refused, also by the next agent, and so is a message of its session', async () => {
  const directory = mkdtempSync(join(tmpdir(), 'dploy-replay-'))
  try {
    const control = newKeyPair()
    const own = newKeyPair()
    const begin = () => {
      const journal = new Journal(join(directory, 'state'))
      const identity = { server: 'srv_1', name: 'web1', control: 'http://localhost', controlKey: control.publicKey, privateKey: own.privateKey, publicKey: own.publicKey }
      const agent = new Agent({ identity, journal, stateDirectory: join(directory, 'state'), root: directory, version: 'test', keeper: { file: '/bin/false', args: [] }, log() {} })
      const [ours, theirs] = joined()
      void agent.serve(theirs)
      return { peer: new Peer(ours, {}), [Symbol.dispose]: () => journal[Symbol.dispose]() }
    }
    const signed = (method: string, params: object, body = Buffer.alloc(0)) => {
      const text = JSON.stringify({ id: randomUUID(), server: 'srv_1', application: 'shop', environment: 'production', epoch: 0, expires: Date.now() + 60_000, method, params, body: sha256(body) })
      return { text, signature: signText(createPrivateKey(control.privateKey), text) }
    }
    const place = { application: 'shop', environment: 'production', directory: '/srv/shop' }
    const session = 'a'.repeat(24)
    const run = signed('exec', { ...place, session, command: { line: 'echo ran >> runs; while [ ! -e stop ]; do sleep 0.05; done' }, sudo: false, timeout: 20_000, window: 1000, terminal: null })
    {
      using first = begin()
      const running = first.peer.call('command', run)
      await assert.rejects(first.peer.call('command', run), { code: 'command.refused' })
      const message = signed('session', { session, sequence: 1, credit: 5 })
      await first.peer.call('command', message)
      await assert.rejects(first.peer.call('command', message), { code: 'command.refused' })
      await first.peer.call('command', signed('exec', { ...place, session: 'b'.repeat(24), command: { line: 'touch stop' }, sudo: false, timeout: 20_000, window: 1000, terminal: null }))
      assert.equal(((await running) as { code: number }).code, 0)
    }
    using second = begin()
    await assert.rejects(second.peer.call('command', run), { code: 'command.refused' })
    assert.equal(readFileSync(join(directory, 'runs'), 'utf8'), 'ran\n')
  } finally {
    rmSync(directory, { recursive: true, force: true })
  }
})
