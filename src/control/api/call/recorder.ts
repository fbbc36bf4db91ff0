import type { Route } from '../../../protocol/api/route.ts'
import { DployError, reportOf } from '../../../protocol/errors.ts'
import type { Caller } from './caller.ts'
import type { NewAuditEntry } from '../../store/audit.ts'
import type { ApiContext } from '../context.ts'

/** What a handler tells the audit log beyond what the request says. */
export interface Change {
  before?: unknown
  after?: unknown
  /** What it is about, where the path does not name it. */
  subject?: string
  /** Who it turned out to be. */
  who?: string
}

/** Parts of a request that are never kept: what is long, and what is told otherwise. */
const unkept = new Set(['old', 'value', 'text', 'manifest', 'base64', 'requestedBy', 'setBy', 'stdin'])
/** Names that mean a secret, in whatever word they stand. An address may have one in it, as those of chats do. */
const secret = /secret|password|passphrase|token|key|credential|signature|url/i

/** Whether the audit log says who called a route. */
export function isAudited(route: Route): boolean {
  return route.audited !== undefined ? route.audited !== false : route.method !== 'GET'
}

/** One call in the audit log: stored before anything happens, and what came of it after. */
export class Recording {
  readonly #context: ApiContext
  readonly #entry: NewAuditEntry
  /** Null: it is stored when it has ended. */
  readonly #seq: number | null
  #change: Change = {}
  readonly #onlyChanges: boolean
  #ended = false

  private constructor(context: ApiContext, entry: NewAuditEntry, seq: number | null, onlyChanges: boolean) {
    this.#context = context
    this.#entry = entry
    this.#seq = seq
    this.#onlyChanges = onlyChanges
  }

  static async begin(
    context: ApiContext,
    action: string,
    route: Route,
    caller: Caller,
    call: { params: unknown; body: unknown; query: unknown },
  ): Promise<Recording> {
    const entry: NewAuditEntry = {
      who: (caller.kind === 'local' ? saidName(call) : null) ?? fullName(caller),
      kind: caller.kind,
      address: caller.address,
      action,
      ...(await aboutOf(context, call.params)),
      outcome: 'begun',
      problem: null,
      before: null,
      after: kept(isPlain(call.body) ? call.body : isPlain(call.query) ? call.query : null),
    }
    const later = caller.kind === 'anyone' || route.audited === 'changes'
    return new Recording(
      context,
      entry,
      later ? null : await context.store.audit.add(entry, Date.now()),
      route.audited === 'changes',
    )
  }

  /** From a handler: what was, and what is now. */
  tell(change: Change): void {
    this.#change = { ...this.#change, ...change }
  }

  /** Does the work, and notes how it ended. */
  async around<T>(work: () => Promise<T>): Promise<T> {
    try {
      const answer = await work()
      await this.#finish('done', null)
      return answer
    } catch (error) {
      await this.failed(error)
      throw error
    }
  }

  /** The same for a stream. It has ended also when its reader went away. */
  async *through<T>(events: AsyncIterable<T>): AsyncGenerator<T> {
    try {
      yield* events
      await this.#finish('done', null)
    } catch (error) {
      await this.failed(error)
      throw error
    } finally {
      // Does nothing where it is finished.
      await this.#finish('done', null)
    }
  }

  async failed(error: unknown): Promise<void> {
    const report = reportOf(error)
    await this.#finish(
      error instanceof DployError && /^(?:forbidden|unauthorized|sign_in\.|link\.|approval\.)/.test(report.code)
        ? 'refused'
        : 'failed',
      report.code,
    )
  }

  async #finish(outcome: 'done' | 'refused' | 'failed', problem: string | null): Promise<void> {
    if (this.#ended) return
    this.#ended = true
    const { audit } = this.#context.store
    const entry = { ...this.#entry, ...this.#change, outcome, problem }
    if (this.#seq !== null) await audit.finish(this.#seq, entry)
    // Of what strangers try, only guesses are kept, which are slowed down: nobody fills the disk with the rest.
    else if (
      outcome === 'done'
        ? !this.#onlyChanges || (entry.after ?? null) !== null
        : this.#entry.kind !== 'anyone' || problem === 'sign_in.failed'
    )
      await audit.add(entry, Date.now())
  }
}

/** Events that end in the audit log too; null: as they are. */
export function recorded<T>(recording: Recording | null, events: AsyncIterable<T>): AsyncIterable<T> {
  return recording ? recording.through(events) : events
}

/** Notes that somebody known was not let in, where something would have changed. */
export async function recordRefusal(
  context: ApiContext,
  action: string,
  caller: Caller,
  params: unknown,
  code: string,
): Promise<void> {
  const entry: NewAuditEntry = {
    who: fullName(caller),
    kind: caller.kind,
    address: caller.address,
    action,
    ...(await aboutOf(context, params)),
    outcome: 'refused',
    problem: code,
    before: null,
    after: null,
  }
  await context.store.audit.add(entry, Date.now())
}

/** Over the unix socket the client says whose name it is: `anna@laptop`. */
function saidName(call: { body: unknown; query: unknown }): string | null {
  for (const part of [call.body, call.query]) {
    const { requestedBy, setBy } = (isPlain(part) ? part : {}) as { requestedBy?: unknown; setBy?: unknown }
    if (typeof requestedBy === 'string') return requestedBy
    if (typeof setBy === 'string') return setBy
  }
  return null
}

/** With the address, of which there is one of each. */
function fullName(caller: Caller): string {
  return caller.email === null
    ? caller.name
    : caller.kind === 'token'
      ? `${caller.name}, ${caller.email}`
      : `${caller.name} <${caller.email}>`
}

/** What a call is about, by its path: the environment, also that of a deployment or run, and what else the path names. */
async function aboutOf(
  context: ApiContext,
  params: unknown,
): Promise<Pick<NewAuditEntry, 'environmentId' | 'application' | 'environment' | 'subject'>> {
  const { store } = context
  const { application, environment, ...named } = (params ?? {}) as Record<string, string | number | undefined>
  const shown = (value: string | number | undefined) =>
    value === undefined || value === '' ? null : String(value).slice(0, 200)
  const subject = shown(Object.values(named).join(' '))
  if (application !== undefined && environment !== undefined) {
    return {
      environmentId: await store.applications.environmentId(String(application), String(environment)),
      application: shown(application),
      environment: shown(environment),
      subject,
    }
  }
  const number = Number(named.number)
  const environmentId = Number.isSafeInteger(number)
    ? await store.deployments.environmentOf(number)
    : named.run === undefined
      ? null
      : await store.runs.environmentOf(String(named.run))
  const place = environmentId === null ? null : await store.applications.environmentById(environmentId)
  return { environmentId, application: place?.application ?? null, environment: place?.name ?? null, subject }
}

/** Not a stream of bytes. */
function isPlain(value: unknown): boolean {
  return (
    typeof value === 'object' &&
    value !== null &&
    [Object.prototype, null].includes(Object.getPrototypeOf(value) as object | null)
  )
}

/** A request's values without those that are never kept; what is long is cut. */
function kept(value: unknown): unknown {
  if (typeof value === 'string') return value.length > 1_000 ? `${value.slice(0, 1_000)}…` : value
  if (Array.isArray(value)) return value.slice(0, 100).map(kept)
  if (value === null || typeof value !== 'object') return value
  const entries = Object.entries(value).filter(
    ([key, one]) => !unkept.has(key) && !secret.test(key) && one !== undefined,
  )
  return entries.length === 0 ? null : Object.fromEntries(entries.map(([key, one]) => [key, kept(one)]))
}
