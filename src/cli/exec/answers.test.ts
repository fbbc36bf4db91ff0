import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import type { CommandOutcome } from '../../protocol/api/commands.ts'
import { foldAnswers, namesText, summaryText, type Answer } from './answers.ts'
import { exitCodeOf } from './exit-code.ts'
import { LabelledLines } from './server-lines.ts'
import { ExecView } from './view.ts'

const outcome = (server: string, rest: Partial<CommandOutcome> = { code: 0 }): CommandOutcome => ({
  server,
  code: null,
  signal: null,
  ms: 1,
  problem: null,
  ...rest,
})
const answer = (server: string, text: string, rest?: Partial<CommandOutcome>): Answer => ({
  outcome: outcome(server, rest),
  chunks: [{ stream: 'stdout', bytes: Buffer.from(text) }],
})

test('answers are folded when output and outcome are the same', () => {
  const groups = foldAnswers([answer('a', 'x'), answer('b', 'y'), answer('c', 'x'), answer('d', 'x', { code: 1 })])
  assert.deepEqual(
    groups.map((group) => group.servers),
    [['a', 'c'], ['b'], ['d']],
  )
})

test('the same bytes in other pieces are the same answer; on the other stream they are not', () => {
  const pieces: Answer = {
    outcome: outcome('b'),
    chunks: [
      { stream: 'stdout', bytes: Buffer.from('o') },
      { stream: 'stdout', bytes: Buffer.from('k') },
    ],
  }
  const other: Answer = { outcome: outcome('c'), chunks: [{ stream: 'stderr', bytes: Buffer.from('ok') }] }
  assert.deepEqual(
    foldAnswers([answer('a', 'ok'), pieces, other]).map((group) => group.servers),
    [['a', 'b'], ['c']],
  )
})

test('names that do not fit are counted', () => {
  assert.equal(namesText(['web1', 'web2', 'web3'], 40), 'web1, web2, web3')
  assert.equal(namesText(['web1', 'web2', 'web3'], 15), 'web1 and 2 more')
})

test('the exit code is the one on which the servers agree', () => {
  const unreachable = { code: 'server.unreachable', message: 'gone', fix: '' } as const
  const late = { code: 'command.timeout', message: 'late', fix: '' } as const
  for (const [outcomes, code] of [
    [[{ code: 0 }, { code: 0 }], 0],
    [[{ code: 0 }, { code: 3 }, { code: 3 }], 3],
    [[{ code: 2 }, { code: 3 }], 1],
    [[{ signal: 'SIGKILL' }], 137],
    [[{ problem: unreachable }], 255],
    [[{ problem: late }, { code: 0 }], 124],
    [[{ code: 4 }, {}], 4],
  ] as const) {
    assert.equal(exitCodeOf(outcomes.map((one, index) => outcome(`web${index}`, { code: null, ...one }))), code)
  }
})

test('the summary counts servers by what came of it', () => {
  assert.equal(
    summaryText([outcome('a'), outcome('b'), outcome('c', { code: 2 }), outcome('d', {})]),
    '2 servers: code 0 · c: code 2 · d: not begun',
  )
})

test('lines get their label, whatever pieces they come in, and keep their bytes', () => {
  const bytes = Buffer.from([0x61, 0xff, 0x0a, 0x0a, 0xc3, 0xa4])
  const lines = new LabelledLines('ä│ ')
  const out = Buffer.concat([...[...bytes].map((byte) => lines.push(Buffer.from([byte]))), lines.end()])
  const label = Buffer.from('ä│ ')
  assert.deepEqual(
    out,
    Buffer.concat([
      label,
      bytes.subarray(0, 3),
      label,
      bytes.subarray(3, 4),
      label,
      bytes.subarray(4),
      Buffer.from('\n'),
    ]),
  )
})

describe('what servers print, on a terminal', () => {
  // Writes over the line before as another server, takes the colours, names the window, fills the clipboard, an 8-bit CSI, and text that runs backwards.
  const evil =
    'one\rweb2 │ fine\u001b[31m red\u001b]0;title\u0007\u001b]52;c;ZXZpbA==\u001b\\\u001b[2J\u001b[1A\u009b2K\u202e ü\tx\n'
  const shownOf = async (options: { fold: boolean; terminal: boolean }, pieces: readonly Buffer[]) => {
    const written: Buffer[] = []
    const view = new ExecView({
      servers: ['web1', 'web2'],
      width: 100,
      color: false,
      fold: options.fold,
      terminals: { stdout: options.terminal, stderr: false },
      write: async (_stream, bytes) => void written.push(bytes),
    })
    for (const bytes of pieces) await view.output('web1', { stream: 'stdout', bytes })
    await view.ended(outcome('web1'))
    await view.flush()
    return Buffer.concat(written)
  }
  const bytes = Buffer.from(evil)
  const cut = bytes.indexOf(Buffer.from('ü')) + 1
  const clean = ['one', 'web2 │ fine\u001b[31m red2K ü\tx\u001b[0m']

  for (const fold of [true, false]) {
    test(`moves nothing and looks like no other server, ${fold ? 'folded' : 'line by line'}`, async () => {
      const shown = (await shownOf({ fold, terminal: true }, [bytes.subarray(0, cut), bytes.subarray(cut)])).toString()
      assert.equal(shown, fold ? `web1:\n${clean.join('\n')}\n` : clean.map((line) => `web1 │ ${line}\n`).join(''))
    })
  }

  test('stays as it is, byte for byte, where no terminal takes it', async () => {
    assert.ok((await shownOf({ fold: true, terminal: false }, [bytes])).includes(bytes))
  })
})
