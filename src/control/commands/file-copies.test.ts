import assert from 'node:assert/strict'
import { test } from 'node:test'
import { DployError } from '../../protocol/errors.ts'
import type { CopyEvent } from '../../protocol/api/commands.ts'
import type { AgentLink } from '../gateway/agent-link.ts'
import type { Environment } from '../store/applications.ts'
import type { Store } from '../store/store.ts'
import { FileCopies } from './file-copies.ts'

const limit = 600
const environment = {
  id: 'env',
  name: 'production',
  application: 'shop',
  config: { release: { directory: '/srv/shop' }, environments: { production: {} } },
} as unknown as Environment
type Command = (
  method: string,
  params: unknown,
  options: { signal: AbortSignal; body?: Uint8Array; onEvent?: (event: unknown, bytes: Uint8Array) => void },
) => Promise<unknown>

function copiesWith(commands: Record<string, Command>): FileCopies {
  const servers = Object.keys(commands).map((name) => ({ id: name, name, tags: {} }))
  const store = {
    applications: { servers: async () => servers },
    runs: { begin: async () => 'run', finish: async () => {} },
  } as unknown as Store
  const link = (id: string) => ({ open: true, command: commands[id]! }) as unknown as AgentLink
  return new FileCopies(store, { link, problem: () => new DployError('server.unreachable', 'gone') } as never, limit)
}

const ended = (signal: AbortSignal) =>
  new Promise<never>((_, reject) => signal.addEventListener('abort', () => reject(signal.reason as Error)))
const copyOf = (content: AsyncIterable<Uint8Array>) => ({
  environment,
  servers: [],
  path: '/tmp/it',
  requestedBy: 'anna',
  signal: new AbortController().signal,
  name: 'it',
  size: 1,
  mode: 0o600,
  digest: '0'.repeat(64),
  content,
})
/** An agent that takes everything. */
const taking: Command = (() => {
  const whole = Promise.withResolvers<unknown>()
  return async (method: string, params: unknown) => {
    if (method === 'receive_file') return whole.promise
    if ((params as { end: boolean }).end) whole.resolve({ path: '/tmp/it' })
    return {}
  }
})()

test('a server that takes nothing more of a copy is left out, named, and told to stop', async () => {
  let stopped: unknown = null
  const copies = copiesWith({
    web1: taking,
    web2: async (method, _params, { signal }) => {
      if (method === 'session') return new Promise(() => {})
      return ended(signal).catch((error: unknown) => {
        stopped = error
        throw error
      })
    },
  })
  const outcomes = await copies.to(
    copyOf(
      (async function* () {
        for (let piece = 0; piece < 40; piece++) yield Buffer.alloc(64 * 1024)
      })(),
    ),
  )
  assert.deepEqual(
    outcomes.map(({ server, problem }) => [server, problem?.code]),
    [
      ['web1', undefined],
      ['web2', 'file.stalled'],
    ],
  )
  assert.match(outcomes[1]!.problem!.message, /web2 took nothing more of \/tmp\/it for 600 ms/)
  assert.equal((stopped as DployError).code, 'file.stalled')
})

test('a copy whose sender sends nothing more is ended on every server', async () => {
  const command: Command = async (method, _params, { signal }) => (method === 'session' ? {} : ended(signal))
  const outcomes = await copiesWith({ web1: command, web2: command }).to(
    copyOf(
      (async function* () {
        yield Buffer.alloc(10)
        await new Promise(() => {})
      })(),
    ),
  )
  assert.deepEqual(
    outcomes.map(({ problem }) => problem?.code),
    ['file.stalled', 'file.stalled'],
  )
})

test('a server that sends nothing more is told to stop; who reads nothing more ends it for all', async () => {
  let told = Promise.withResolvers<void>()
  const copies = copiesWith({
    web1: async (_method, _params, { signal, onEvent }) => {
      onEvent!({ size: 100 }, Buffer.alloc(10))
      return ended(signal).finally(() => told.resolve())
    },
  })
  const copy = { environment, servers: [], path: '/tmp/it', requestedBy: 'anna', signal: new AbortController().signal }
  const events: CopyEvent[] = []
  for await (const event of copies.from(copy)) events.push(event)
  const last = events.at(-1)!
  assert.equal(last.kind === 'ended' && last.outcome.problem?.code, 'file.stalled')

  told = Promise.withResolvers()
  const reader = copies.from(copy)
  await reader.next()
  assert.equal((await reader.next()).value!.kind, 'data')
  await told.promise
  await assert.rejects(
    async () => {
      for await (const _ of reader);
    },
    { code: 'file.stalled', message: /read nothing more/ },
  )
})

test('what went to the servers is kept nowhere', async () => {
  const taken: Command = async (method, _params, { signal }) => (method === 'session' ? {} : ended(signal))
  const before = process.memoryUsage.rss()
  let most = 0
  const gone = new AbortController()
  const outcomes = await copiesWith({ web1: taken, web2: taken }).to({
    ...copyOf(
      (async function* () {
        for (let piece = 0; piece < 4_000; piece++) {
          yield Buffer.alloc(256 * 1024, piece)
          if (piece % 100 === 0) most = Math.max(most, process.memoryUsage.rss() - before)
        }
        gone.abort(new DployError('deployment.cancelled', 'enough'))
      })(),
    ),
    signal: gone.signal,
  })
  assert.equal(outcomes[0]!.problem?.code, 'deployment.cancelled')
  assert.ok(most < 400 * 1024 * 1024, `${Math.round(most / 1024 / 1024)} MB`)
})
