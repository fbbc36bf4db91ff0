import type { CompiledQuery, Kysely, Selectable, Transaction } from 'kysely'
import type { Span } from '../../protocol/agent-messages.ts'
import type { StepState } from '../../protocol/deployment.ts'
import { DployError, type ErrorReport } from '../../protocol/errors.ts'
import { stepTransitions } from '../deploy/run/states.ts'
import type { Tables } from './schema.ts'

export interface StepChange {
  deployment: string
  fence: number
  server: string
  to: StepState
  spans?: readonly Span[] | undefined
  bytes?: number | undefined
  objects?: number | undefined
  failure?: ErrorReport | null | undefined
}

/** How many are written in one transaction: what else the process has to do, events to be told among it, comes between two. */
const atOnce = 50

interface Waiting {
  change: StepChange
  done: PromiseWithResolvers<{ batch: number | null }>
}

/**
 * Writes where servers stand. Servers move together, and a transaction costs a flush of the disk: what is asked for while one
 * runs goes into the next one. Each change succeeds or fails for itself.
 */
export class StepWriter {
  readonly #db: Kysely<Tables>
  readonly #statements: Statements
  readonly #waiting: Waiting[] = []
  #writing = false

  constructor(db: Kysely<Tables>) {
    this.#db = db
    this.#statements = compiled(db)
  }

  /** Resolves once it is stored. Throws `deployment.conflict` for a transition that the table does not know, `lock.lost` under a stale token. */
  write(change: StepChange): Promise<{ batch: number | null }> {
    const done = Promise.withResolvers<{ batch: number | null }>()
    this.#waiting.push({ change, done })
    if (!this.#writing) {
      this.#writing = true
      // Whoever was called by the same event as this one comes along.
      setImmediate(() => void this.#writeAll())
    }
    return done.promise
  }

  async #writeAll(): Promise<void> {
    while (this.#waiting.length > 0) {
      const changes = this.#waiting.splice(0, atOnce)
      try {
        const results = await this.#db.transaction().execute(async (trx) => {
          const fences = new Map<string, number>()
          const outcomes: (() => void)[] = []
          for (const { change, done } of changes) {
            try {
              const answer = await write(trx, change, fences, this.#statements)
              outcomes.push(() => done.resolve(answer))
            } catch (error) {
              // Refused before anything was written: the others are stored all the same.
              if (!(error instanceof DployError)) throw error
              outcomes.push(() => done.reject(error))
            }
          }
          return outcomes
        })
        for (const tell of results) tell()
      } catch (error) {
        for (const { done } of changes) done.reject(error)
      }
      await new Promise((resolve) => setImmediate(resolve))
    }
    this.#writing = false
  }
}

/** Compiled once: a thousand servers at the same step differ in their values alone. */
interface Statements {
  find: CompiledQuery
  move: CompiledQuery
}

function compiled(db: Kysely<Tables>): Statements {
  return {
    find: db.selectFrom('steps').selectAll().where('deployment_id', '=', '').where('server_id', '=', '').compile(),
    move: db
      .updateTable('steps')
      .set({ state: '' })
      .where('deployment_id', '=', '')
      .where('server_id', '=', '')
      .compile(),
  }
}

async function write(
  trx: Transaction<Tables>,
  change: StepChange,
  fences: Map<string, number>,
  statements: Statements,
): Promise<{ batch: number | null }> {
  const { deployment, server, to, spans, bytes, objects, failure } = change
  if ((fences.get(deployment) ?? (await fenceOf(trx, deployment, fences))) !== change.fence)
    throw new DployError('lock.lost')
  const [row] = (
    await trx.executeQuery<Selectable<Tables['steps']>>({ ...statements.find, parameters: [deployment, server] })
  ).rows
  if (!row) throw new DployError('not_found', `The deployment ${deployment} has no step for the server ${server}`)
  const allowed: readonly StepState[] = stepTransitions[row.state as StepState]
  if (!allowed.includes(to))
    throw new DployError('deployment.conflict', `A step that is ${row.state} cannot become ${to}`)
  if (spans === undefined && bytes === undefined && objects === undefined && failure === undefined) {
    await trx.executeQuery({ ...statements.move, parameters: [to, deployment, server] })
    return { batch: row.batch }
  }
  await trx
    .updateTable('steps')
    .set({
      state: to,
      ...(spans === undefined ? {} : { spans: JSON.stringify([...(JSON.parse(row.spans) as Span[]), ...spans]) }),
      ...(bytes === undefined ? {} : { bytes: row.bytes + bytes }),
      ...(objects === undefined ? {} : { objects: row.objects + objects }),
      ...(failure === undefined ? {} : { failure: failure === null ? null : JSON.stringify(failure) }),
    })
    .where('deployment_id', '=', deployment)
    .where('server_id', '=', server)
    .execute()
  return { batch: row.batch }
}

/** The newest fencing token of the environment that a deployment is to. */
async function fenceOf(trx: Transaction<Tables>, deployment: string, fences: Map<string, number>): Promise<number> {
  const { fence } = await trx
    .selectFrom('deployments')
    .innerJoin('environments', 'environments.id', 'deployments.environment_id')
    .select('environments.fence')
    .where('deployments.id', '=', deployment)
    .executeTakeFirstOrThrow()
  fences.set(deployment, fence)
  return fence
}
