import assert from 'node:assert/strict'
import { stripVTControlCharacters } from 'node:util'
import { test } from 'node:test'
import type { DeploymentEvent, DeploymentEventData, Plan } from '../../protocol/deployment.ts'
import { liveLines } from './live.ts'
import { plainLine } from './plain.ts'
import { newProgress, takeEvent } from './progress.ts'

const began = 1_700_000_000_000
const title = 'Deployment 7 · shop → production'

function plan(servers: string[], batches: string[][], more: Partial<Plan> = {}): Plan {
  return {
    application: 'shop',
    environment: 'production',
    kind: 'deploy',
    release: 4,
    from: 3,
    stage: servers.map((server) => ({ server, has: false })),
    batches,
    unchanged: [],
    unreachable: [],
    releaseCommand: null,
    perServer: ['drain', 'activate', 'register'],
    bake: 2_000,
    bakeBatch: 0,
    gates: [],
    warnings: [],
    ...more,
  } as unknown as Plan
}

function events(...list: [at: number, server: string | null, data: DeploymentEventData][]): DeploymentEvent[] {
  return list.map(([at, server, data], index) => ({ seq: index + 1, deployment: 'dep', at: began + at, server, data }))
}

const state = (name: string, failure: unknown = null) =>
  ({ kind: 'state', state: name, failure }) as DeploymentEventData
const step = (name: string, batch = 0, failure: unknown = null) =>
  ({ kind: 'step', state: name, batch, failure }) as DeploymentEventData
const middle = events(
  [0, null, state('resolving')],
  [120, null, state('building')],
  [200, null, state('staging')],
  [210, null, { kind: 'plan', plan: plan(['web1', 'web2'], [['web1'], ['web2']]) }],
  [220, 'web1', step('staging')],
  [240, 'web1', step('staged')],
  [250, 'web2', step('staged', 1)],
  [300, null, state('activating')],
  [310, 'web1', step('activating')],
  [320, 'web1', { kind: 'progress', phase: 'boot' } as DeploymentEventData],
)

function drawn(
  list: DeploymentEvent[],
  options: { width?: number; height?: number; color?: boolean; now?: number } = {},
): string[] {
  const progress = newProgress()
  for (const event of list) takeEvent(progress, event)
  return liveLines(progress, { width: 100, height: 40, color: false, now: began + 500, title, ...options })
}

test('a running deployment is a line of phases and a row per server', () => {
  const lines = drawn(middle)
  assert.match(lines[0]!, /^Deployment 7 · shop → production {2}activating {2}500 ms$/)
  assert.match(lines[1]!, /^resolve ✓ 120 ms → build ✓ 80 ms → stage ✓ 100 ms → commit → activate → bake$/)
  assert.match(
    lines.find((line) => line.includes('web1'))!,
    /▸ web1 1\/2 {2}activating .*boot$/,
  )
  assert.match(
    lines.find((line) => line.includes('web2'))!,
    /• web2 2\/2 {2}staged/,
  )
})

test('no line is wider than the terminal, with colours or without', () => {
  for (const color of [false, true]) {
    for (const width of [20, 40, 80, 200]) {
      for (const line of drawn(middle, { width, color }))
        assert.ok([...stripVTControlCharacters(line)].length <= width, `${width}: ${line}`)
    }
  }
})

test('colours are there only where they were asked for, and change no word', () => {
  const plain = drawn(middle)
  const coloured = drawn(middle, { color: true })
  assert.ok(plain.every((line) => !line.includes('\u001b')))
  assert.ok(coloured.some((line) => line.includes('\u001b[')))
  assert.deepEqual(
    coloured.map((line) => stripVTControlCharacters(line)),
    plain,
  )
})

test('more servers than rows are drawn as a line per batch', () => {
  const names = Array.from({ length: 60 }, (_, index) => `web${index + 1}`)
  const lines = drawn(
    events(
      [0, null, state('staging')],
      [1, null, { kind: 'plan', plan: plan(names, [names.slice(0, 30), names.slice(30)]) }],
      [2, 'web1', step('switched')],
    ),
    { height: 24 },
  )
  assert.match(
    lines.find((line) => line.includes('batch 1'))!,
    /batch 1 +1\/30 +✓·{29}$/,
  )
  assert.ok(lines.length <= 24)
})

test('a failure tells what happened, where, and what to do next', () => {
  const failure = {
    code: 'service.exited',
    message: 'The service ended with code 1',
    where: 'web1',
    fix: 'Read what it printed: dploy logs',
  }
  const lines = drawn([
    ...middle,
    ...events([400, 'web1', step('failed', 0, failure)], [410, null, state('failed', failure)]),
  ])
  assert.match(lines[0]!, /failed {2}410 ms$/)
  assert.ok(lines.includes('web1: The service ended with code 1'))
  assert.ok(lines.includes('next: Read what it printed: dploy logs'))
  assert.equal(lines.at(-1), '(service.exited)')
})

test('a failure is told whole, however narrow the terminal is', () => {
  const failure = {
    code: 'ssh.host_key_changed',
    message: 'web1 shows another host key than the one known before',
    where: 'web1',
    fix: 'Find out why. If it was installed anew: ssh-keygen -f /home/anna/.ssh/known_hosts_of_the_shop -R web1',
  }
  for (const width of [20, 40, 80]) {
    const lines = drawn([...middle, ...events([410, null, state('failed', failure)])], { width })
    for (const line of lines) assert.ok(line.length <= width, `${width}: ${line}`)
    const said = lines
      .slice(lines.findIndex((line) => line.startsWith('web1: web1')))
      .join('')
      .replaceAll(' ', '')
    assert.equal(said, `web1: ${failure.message}next: ${failure.fix}(${failure.code})`.replaceAll(' ', ''))
  }
})

test('an event is a plain line with its second, or none', () => {
  const failure = { code: 'service.exited', message: 'It ended', where: 'web1', fix: 'Look' }
  const lines = (list: DeploymentEvent[]) => list.map((event) => plainLine(event, began))
  assert.deepEqual(
    lines(
      events(
        [0, null, state('rolling_back')],
        [1_234, 'web1', step('switched')],
        [12_345, null, state('failed', failure)],
        [
          2_000,
          'web1',
          { kind: 'output', source: 'after_stage', stream: 'stdout', text: 'one\ntwo\n' } as DeploymentEventData,
        ],
        [10, null, { kind: 'plan', plan: plan(['web1'], [['web1']], { unreachable: ['web2'], warnings: ['slow'] }) }],
        [5, 'web1', { kind: 'progress', phase: 'boot' } as DeploymentEventData],
      ),
    ),
    [
      '   0.00  rolling back',
      '   1.23  web1: switched',
      '  12.35  failed: web1: It ended\n         next: Look\n         (service.exited)',
      '   2.00  web1: after_stage| one\n   2.00  web1: after_stage| two',
      '   0.01  plan: 1 server in 1 batch, 1 out of reach, bake 2.0 s\n   0.01  warning: slow',
      null,
    ],
  )
})
