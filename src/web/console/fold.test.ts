import assert from 'node:assert/strict'
import { test } from 'node:test'
import { fold, keptText, outcomeText, withEvent, type Answer } from './fold.ts'

const ended = (server: string, code: number) => ({
  kind: 'ended' as const,
  outcome: { server, code, signal: null, ms: 1, problem: null },
})
const output = (server: string, text: string) => ({ kind: 'output' as const, server, stream: 'stdout' as const, text })

test('identical answers are one group, different ones and other exit codes stand apart, the largest first', () => {
  const servers = ['web1', 'web2', 'web3', 'web4']
  const events = [
    { kind: 'started' as const, run: 'run_1', servers },
    ...servers.map((server) => output(server, server === 'web2' ? 'other\n' : 'same\n')),
    ended('web1', 0),
    ended('web2', 0),
    ended('web3', 0),
    ended('web4', 2),
  ]
  const answers = events.reduce<Map<string, Answer>>((before, event) => withEvent(before, event), new Map())
  assert.deepEqual(
    fold(answers.values()).map((group) => [group.servers, group.text, outcomeText(group.outcome)]),
    [
      [['web1', 'web3'], 'same\n', 'code 0'],
      [['web2'], 'other\n', 'code 0'],
      [['web4'], 'same\n', 'code 2'],
    ],
  )
})

test('only the end of very long output is kept', () => {
  const answers = withEvent(new Map(), output('web1', 'x'.repeat(keptText + 5) + 'end'))
  assert.equal(answers.get('web1')!.text.length, keptText)
  assert.ok(answers.get('web1')!.text.endsWith('end'))
})
