// What a canary's judgement is worth, by simulated deployments and by recorded traffic: how often it stops a good release, and finds a bad one.
// Run: bench/run canary            (half a minute; needs nothing)
//      --deployments N             for each line; 5,000 by default
import { parseArgs } from 'node:util'
import { recorded, replay, type Recorded } from '../src/control/judging/recorded.ts'
import type { Judgement } from '../src/control/judging/judge.ts'
import { seeded, simulate, type Simulation } from '../src/control/judging/simulation.ts'

const { values } = parseArgs({ options: { deployments: { type: 'string', default: '5000' } } })
const deployments = Number(values.deployments)
const base: Simulation = {
  requests: 2_000,
  oldShare: 3,
  newFails: 0.001,
  oldFails: 0.001,
  slower: 1,
  slowerFrom: 0,
  looks: 30,
  times: 500,
}
const wrong: string[] = []

function line(what: string, change: Partial<Simulation>, holds: (stopped: number) => boolean): void {
  print(what, (random) => simulate({ ...base, ...change }, random), holds)
}

function print(what: string, deploy: (random: () => number) => Judgement, holds: (stopped: number) => boolean): void {
  const random = seeded(2026)
  let stopped = 0
  for (let run = 0; run < deployments; run++) if (deploy(random).outcome === 'fail') stopped++
  const share = stopped / deployments
  process.stdout.write(`${what.padEnd(88)} stopped: ${(share * 100).toFixed(2).padStart(6)} %\n`)
  if (!holds(share)) wrong.push(what)
}

for (const fails of [0, 0.0001, 0.001, 0.01, 0.05]) {
  for (const oldShare of [1, 3, 9])
    line(
      `no difference: ${fails * 100} % fail, the old release has ${oldShare} times the traffic`,
      { newFails: fails, oldFails: fails, oldShare },
      (share) => share < 0.02,
    )
}
for (const [requests, oldShare] of [
  [1_200, 9],
  [1_500, 3],
  [2_500, 1],
] as const) {
  line(
    `0.1 % to 1 % fail: ${requests} requests to the new release, ${oldShare} times as many to the old`,
    { requests, oldShare, newFails: 0.01 },
    (share) => share >= 0.9,
  )
}
line(
  'every answer takes half as long again: 150 measured of each',
  { times: 150, slower: 1.5 },
  (share) => share >= 0.9,
)
line(
  'the slowest tenth takes half as long again: 500 measured of each',
  { slower: 1.5, slowerFrom: 0.9 },
  (share) => share >= 0.9,
)

const servers = recorded()
const others = ['web2', 'web3', 'web4'].flatMap((name) => servers.get(name)!)
const web1 = servers.get('web1')!
const again = (
  what: string,
  fresh: readonly Recorded[],
  requests: number,
  times: boolean,
  holds: (stopped: number) => boolean,
) => print(`recorded: ${what}`, (random) => replay(fresh, others, { requests, looks: 12, times }, random), holds)
again('servers that are alike, 1,500 requests', others, 1_500, true, (share) => share < 0.02)
again('web1 fails ten times as often, 1,500 requests, by failures alone', web1, 1_500, false, (share) => share >= 0.9)
again(
  'web1 takes half as long again, 150 requests',
  web1.map((one) => ({ ...one, failed: false })),
  150,
  true,
  (share) => share >= 0.9,
)
for (const what of wrong) process.stdout.write(`NOT REACHED: ${what}\n`)
process.exitCode = wrong.length === 0 ? 0 : 1
