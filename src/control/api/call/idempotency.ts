import { createHash } from 'node:crypto'
import type { FastifyReply, FastifyRequest } from 'fastify'
import { DployError } from '../../../protocol/errors.ts'
import { holderOfThisProcess, isDeadHolder } from '../../deploy/lock/holder.ts'
import type { Caller } from './caller.ts'
import type { ApiContext } from '../context.ts'

/**
 * `Idempotency-Key` (draft-ietf-httpapi-idempotency-key-header): a request that is sent again, because nobody knows
 * whether the first one arrived, starts nothing more. The key is stored before anything is done, and the answer after it,
 * so that both outlive the process.
 */

/** Requests of this process that are being answered, by caller and key: the next one with the same waits for them. */
const working = new Map<string, Promise<void>>()

export interface Keyed {
  name: string
  key: string
  caller: string
  params: unknown
  /** Digest of what is asked for. */
  request: string
}

/** The key of a request and what it goes with; null: it came without. Throws `request.invalid`. */
export function keyOf(name: string, caller: Caller, request: FastifyRequest): Keyed | null {
  const key = request.headers['idempotency-key']
  if (key === undefined) return null
  if (typeof key !== 'string' || !/^[\x21-\x7e]{1,200}$/.test(key))
    throw new DployError('request.invalid', 'Idempotency-Key is 1 to 200 printable characters', {
      where: 'idempotency-key',
    })
  const asked = JSON.stringify([name, request.params ?? null, request.query ?? null, request.body ?? null])
  return {
    name,
    key,
    params: request.params,
    caller: `${caller.kind === 'local' ? 'local' : 'known'}:${caller.identity}`,
    request: createHash('sha256').update(asked).digest('hex'),
  }
}

/**
 * Does the work once, and answers what it answered then. What failed did nothing, and may be tried again with the key.
 * `work` is given the id under which the answer will be kept.
 * Throws `idempotency.other_request`, `idempotency.under_way` and `idempotency.cut_off`.
 */
export async function once(
  context: ApiContext,
  keyed: Keyed,
  reply: FastifyReply,
  work: (answer: string) => Promise<unknown>,
): Promise<unknown> {
  using _ = await alone(keyed)
  const { answers } = context.store
  const claimed = await claim(context, keyed)
  if ('value' in claimed) {
    void reply.header('idempotency-replayed', 'true')
    return claimed.value
  }
  let value: unknown
  try {
    value = await work(claimed.id)
  } catch (error) {
    if ((await begunBy(context, keyed, claimed.id)) === null) await answers.release(claimed.id)
    throw error
  }
  await answers.keep(claimed.id, value ?? null)
  return value
}

/**
 * The same for what is answered as a stream, which is not kept: the second one is refused. What failed before its first
 * event may be tried again.
 */
export async function* onceStreamed<T>(
  context: ApiContext,
  keyed: Keyed,
  events: () => AsyncIterable<T>,
): AsyncGenerator<T> {
  const claimed = await claim(context, keyed, 'streamed')
  if ('value' in claimed)
    throw new DployError('idempotency.under_way', 'This was begun already, and its output is not sent twice', {
      fix: 'Run: dploy exec --history',
    })
  let begun = false
  try {
    for await (const event of events()) {
      begun = true
      yield event
    }
  } catch (error) {
    if (!begun) await context.store.answers.release(claimed.id)
    throw error
  }
}

/** Waits until no other request of this process has the key. */
async function alone({ caller, key }: Keyed): Promise<Disposable> {
  const name = JSON.stringify([caller, key])
  for (let other = working.get(name); other; other = working.get(name)) await other
  const { promise, resolve } = Promise.withResolvers<void>()
  working.set(name, promise)
  return {
    [Symbol.dispose]() {
      working.delete(name)
      resolve()
    },
  }
}

/** A key that is now this request's, or the answer that is kept under it. */
async function claim(
  context: ApiContext,
  keyed: Keyed,
  streamed?: 'streamed',
): Promise<{ id: string } | { value: unknown }> {
  const { answers } = context.store
  const holder = holderOfThisProcess()
  for (;;) {
    const { taken, entry } = await answers.take(keyed.caller, keyed.key, keyed.request, holder, Date.now())
    if (taken) return { id: entry.id }
    if (entry.request !== keyed.request)
      throw new DployError('idempotency.other_request', undefined, { where: 'idempotency-key' })
    if (streamed) return { value: null }
    if (entry.answer) return entry.answer
    if (entry.holder !== holder && !isDeadHolder(entry.holder)) throw new DployError('idempotency.under_way')
    // Whoever began it is gone. A deployment says in its own record which request it is of.
    if (!inRecords.has(keyed.name)) throw new DployError('idempotency.cut_off')
    const deployment = await begunBy(context, keyed, entry.id)
    if (deployment !== null) {
      const value = await context.store.deployments.present(deployment)
      await answers.keep(entry.id, value)
      return { value }
    }
    await answers.release(entry.id)
  }
}

/** What leaves behind which request it is of. */
const inRecords: ReadonlySet<string> = new Set(['deploy', 'rollback'])

/** Id of the deployment that a request brought, whatever came of the request; null: none. */
async function begunBy(context: ApiContext, { name, params }: Keyed, answer: string): Promise<string | null> {
  if (!inRecords.has(name)) return null
  const { application, environment } = params as { application: string; environment: string }
  const id = await context.store.applications.environmentId(application, environment)
  return id === null ? null : context.store.deployments.ofAnswer(id, answer)
}
