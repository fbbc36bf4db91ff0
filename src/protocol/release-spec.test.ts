import assert from 'node:assert/strict'
import { test } from 'node:test'
import { readConfig } from './config/text.ts'
import { handoverOf, type ServiceSpec } from './release-spec.ts'

const service = (text: string) =>
  readConfig(
    `application: shop\nservice: { command: node x.js, port: 3000, ${text} }\nenvironments: { production: { servers: [web1] } }\n`,
  ).service as ServiceSpec

test('an application that may run only once is drained and started anew, whatever the hand-over says', () => {
  assert.equal(handoverOf(service('handover: port, overlap: false')), 'restart')
  assert.equal(handoverOf(service('handover: socket, overlap: false, instances: 1')), 'restart')
  assert.equal(handoverOf(service('handover: socket')), 'socket')
  assert.equal(handoverOf(service('instances: 1')), 'restart')
  assert.equal(handoverOf(null), 'restart')
})
