import assert from 'node:assert/strict'
import { test } from 'node:test'
import { newKeyPair, readPrivateKey, sha256, signText } from '../protocol/signature.ts'
import { admitCommand } from './command-gate.ts'

const control = newKeyPair()
const body = Buffer.from('delta')
const whole = {
  id: 'cmd_1',
  server: 'srv_1',
  application: 'shop',
  environment: 'production',
  epoch: 5,
  expires: 10_000,
  method: 'stage',
  params: {},
  body: sha256(body),
}

function signed(changes: Partial<typeof whole> = {}, key = control.privateKey) {
  const text = JSON.stringify({ ...whole, ...changes })
  return { text, signature: signText(readPrivateKey(key), text) }
}

function gate(now = 5_000) {
  const epochs = new Map<string, number>()
  return {
    controlKey: control.publicKey,
    server: 'srv_1',
    epoch: (application: string, environment: string) => epochs.get(`${application}/${environment}`) ?? 0,
    raiseEpoch: (application: string, environment: string, epoch: number) =>
      void epochs.set(`${application}/${environment}`, epoch),
    now: () => now,
  }
}

test('what the control plane signed for this server is let through', () => {
  assert.equal(admitCommand(signed(), body, gate()).method, 'stage')
})

test('unsigned, altered, foreign, expired commands and exchanged bodies are refused', () => {
  const altered = signed()
  altered.text = altered.text.replace('"srv_1"', '"srv_1" ')
  const cases: [string, unknown, Buffer, number][] = [
    ['unsigned', { text: JSON.stringify(whole), signature: '' }, body, 5_000],
    ['another key', signed({}, newKeyPair().privateKey), body, 5_000],
    ['altered', altered, body, 5_000],
    ['for another server', signed({ server: 'srv_2' }), body, 5_000],
    ['expired', signed(), body, 10_001],
    ['other body', signed(), Buffer.from('other'), 5_000],
    ['garbage', { text: 7 }, body, 5_000],
    ['null', null, body, 5_000],
    ['unknown method', signed({ method: 'shell' }), body, 5_000],
  ]
  for (const [what, params, sent, now] of cases)
    assert.throws(() => admitCommand(params, sent, gate(now)), { code: 'command.refused' }, what)
})

test('a fencing token older than one seen before is refused, per environment', () => {
  const options = gate()
  admitCommand(signed({ epoch: 7 }), body, options)
  assert.throws(() => admitCommand(signed({ epoch: 6 }), body, options), {
    code: 'command.refused',
    message: /fencing token 6 is older than 7/,
  })
  admitCommand(signed({ epoch: 7 }), body, options)
  admitCommand(signed({ epoch: 6, environment: 'staging' }), body, options)
  admitCommand(signed({ epoch: 0 }), body, options)
})
