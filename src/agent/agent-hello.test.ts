import assert from 'node:assert/strict'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import type { Carrier } from '../protocol/peer.ts'
import { newKeyPair } from '../protocol/signature.ts'
import { protocolNumber } from '../protocol/version.ts'
import { Agent } from './agent.ts'
import { Journal } from './journal.ts'

test('a hello that came before anybody listened is answered', async (t) => {
  const directory = mkdtempSync(join(tmpdir(), 'dploy-hello-'))
  t.after(() => rmSync(directory, { recursive: true, force: true }))
  using journal = new Journal(directory)
  const keys = newKeyPair()
  const identity = {
    server: 'srv_1',
    name: 'web1',
    control: 'http://127.0.0.1:1',
    controlKey: keys.publicKey,
    privateKey: keys.privateKey,
  }
  const agent = new Agent({
    identity,
    journal,
    stateDirectory: directory,
    root: directory,
    version: '0.0.0',
    keeper: { file: process.execPath, args: [] },
    log: () => {},
  })
  const answered = Promise.withResolvers<unknown>()
  const carrier: Carrier = {
    send: async (head) => answered.resolve(head),
    // What was waiting is handed over at once, as carriers do.
    set onFrame(take: Carrier['onFrame']) {
      take(
        { kind: 'call', id: 1, method: 'hello', params: { protocol: protocolNumber, nonce: 'n' } },
        new Uint8Array(0),
      )
    },
    onClose: () => {},
    pause: () => () => {},
    close: () => carrier.onClose('over'),
  }
  const served = agent.serve(carrier)
  const { kind, result } = (await answered.promise) as { kind: string; result: { server: string } }
  assert.deepEqual([kind, result.server], ['result', 'srv_1'])
  carrier.close('over')
  await served
})
