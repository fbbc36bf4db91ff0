// Needs the machine to itself.
import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { unavailable } from '../fleet/fleet.ts'
import { measureRow } from './row.ts'
import { ways } from './team.ts'

const missing = unavailable()

describe(
  'two deployments in a row under load, with slow pages, uploads and WebSockets',
  { skip: missing === null ? false : missing, concurrency: 1, timeout: 600_000 },
  () => {
    for (const way of ways) {
      test(`${way.name}: no request fails`, { skip: way.missing() ?? false }, async (context) => {
        const row = await measureRow(way, { deployments: 2, rate: 150, sockets: 10 })
        context.diagnostic(JSON.stringify({ ...row, failures: undefined }))
        assert.equal(row.failed, 0, row.failures.join('\n'))
        if (!way.endsConnections) assert.equal(row.again, 0)
        assert.ok(row.requests > (150 * 2 * row.seconds) / 2, `${row.requests} requests`)
        assert.equal(row.sockets.undeclared, 0)
        assert.ok(row.sockets.opened >= 10)
      })
    }
  },
)
