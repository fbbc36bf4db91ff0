// Whether anybody notices: deployments in a row under load for each way to deploy, as a table.
// Run: bench/run nobody-notices                    (root on Debian; about three minutes for each way)
//      bench/run nobody-notices nginx Caddy        only the ways with these words in their names
//      --deployments N (20)  --rate N (500 requests a second)  --sockets N (20 WebSockets)
import { parseArgs } from 'node:util'
import { unavailable } from '../e2e/fleet/fleet.ts'
import { measureRow, type Row } from '../e2e/nobody-notices/row.ts'
import { ways } from '../e2e/nobody-notices/team.ts'

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    deployments: { type: 'string', default: '20' },
    rate: { type: 'string', default: '500' },
    sockets: { type: 'string', default: '20' },
  },
})
const missing = unavailable()
if (missing !== null) throw new Error(`The fleet cannot run here: ${missing}`)
const options = { deployments: Number(values.deployments), rate: Number(values.rate), sockets: Number(values.sockets) }
const rows: Row[] = []
const wrong: string[] = []
for (const way of ways) {
  if (positionals.length > 0 && !positionals.some((word) => way.name.toLowerCase().includes(word.toLowerCase())))
    continue
  const reason = way.missing()
  if (reason !== null) {
    process.stdout.write(`${way.name}: not measured: ${reason}\n`)
    continue
  }
  const row = await measureRow(way, {
    ...options,
    onDeployment: (number, { result }) =>
      process.stderr.write(`${way.name}: ${number} of ${options.deployments}, ${result.seconds.toFixed(1)} s\n`),
  })
  rows.push(row)
  for (const failure of row.failures) process.stdout.write(`${way.name}: ${failure}\n`)
  if (row.failed > 0) wrong.push(`${way.name}: ${row.failed} requests failed`)
  if (row.again > 0 && way.endsConnections !== true)
    wrong.push(`${way.name}: ${row.again} requests had to be sent again`)
  if (row.sockets.refused > 0) wrong.push(`${way.name}: ${row.sockets.refused} WebSockets did not open`)
  if (row.sockets.undeclared > 0)
    wrong.push(`${way.name}: ${row.sockets.undeclared} WebSockets ended on servers that did not switch`)
}
process.stdout.write(
  `\n${options.deployments} deployments each of a one-line change to 4 servers, two at a time (warm: all at once; or to one server alone); ${options.rate} requests a second (half on kept connections, 20 % POST, 1 % take 2 s), ${options.sockets} WebSockets\nsent again: the balancer ended a kept connection in the instant in which it was used; browsers send such a request once more\nblind: for so long the machine gave the generator itself no processor, so that it cannot have noticed anything\n\n`,
)
const head = [
  'way',
  'requests',
  'failed',
  'sent again',
  'stalled',
  'p99 during',
  'p99 outside',
  'a deployment',
  'WebSockets: opened',
  'refused',
  'told to go',
  'cut',
  'undeclared',
  'blind',
]
const lines = rows.map(({ way, requests, failed, again, stalled, blind, p99During, p99Outside, seconds, sockets }) => [
  way,
  String(requests),
  String(failed),
  String(again),
  String(stalled),
  `${p99During.toFixed(0)} ms`,
  `${p99Outside.toFixed(0)} ms`,
  `${seconds.toFixed(2)} s`,
  String(sockets.opened),
  String(sockets.refused),
  String(sockets.ended),
  String(sockets.cut),
  String(sockets.undeclared),
  `${(blind / 1000).toFixed(1)} s`,
])
const widths = head.map((name, index) => Math.max(name.length, ...lines.map((line) => line[index]!.length)))
for (const line of [head, ...lines])
  process.stdout.write(
    `${line.map((cell, index) => (index === 0 ? cell.padEnd(widths[0]!) : cell.padStart(widths[index]!))).join('  ')}\n`,
  )
for (const fault of wrong) process.stdout.write(`NOT REACHED: ${fault}\n`)
process.exitCode = wrong.length === 0 ? 0 : 1
