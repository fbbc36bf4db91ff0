import type { Changed } from '../../../protocol/api/changes.ts'
import type { Place } from '../../../protocol/api/access.ts'
import type { Rights } from '../../people/rights.ts'
import type { Change } from '../../store/changes.ts'
import type { ApiContext } from '../context.ts'
import { rightsNow } from '../call/identify.ts'
import type { Call, Handlers } from '../server.ts'

/** How often one who is told of changes hears that there was none, so that a dead connection is seen. Milliseconds. */
const beat = 2_000

/** Tells of what kind something has changed, and where: to each who may read it. */
export function changeHandlers(context: ApiContext): Pick<Handlers, 'watchChanges'> {
  return { watchChanges: (call) => watchChanges(context, call) }
}

async function* watchChanges(
  context: ApiContext,
  call: Call<'watchChanges'>,
): AsyncGenerator<{ id: number; data: Changed }> {
  const { changes } = context.store
  const places = new Map<string, Place>()
  let { rights } = call.caller
  const from = call.lastEventId ?? changes.cursor
  const first = changes.since(from)
  yield { id: changes.cursor, data: { everything: first === null, changes: await told(first ?? []) } }
  if (call.query.follow === 'false') return
  for await (const { cursor, changes: news } of changes.follow(changes.cursor, beat, call.signal)) {
    if (call.signal.aborted) return
    yield {
      id: cursor,
      data: { everything: news === null, changes: [...(await ownRights(news ?? [])), ...(await told(news ?? []))] },
    }
  }

  /** Who was given another role sees other things from now on. */
  async function ownRights(news: readonly Change[]): Promise<Changed['changes']> {
    if (call.caller.kind === 'local' || !news.some(({ kind }) => kind === 'people' || kind === 'tokens')) return []
    const before = JSON.stringify(rights.list())
    rights = await rightsNow(context, call.caller)
    return JSON.stringify(rights.list()) === before ? [] : [{ kind: 'session', place: null }]
  }

  async function told(news: readonly Change[]): Promise<Changed['changes']> {
    const seen = news.filter((change) => maySee(rights, change))
    return Promise.all(
      seen.map(async ({ kind, environment }) => ({
        kind,
        place: environment === null ? null : await placeOf(environment),
      })),
    )
  }

  async function placeOf(id: string): Promise<Place> {
    const known = places.get(id)
    if (known) return known
    const { application, name } = await context.store.applications.environmentById(id)
    places.set(id, { application, environment: name })
    return places.get(id)!
  }
}

/** What is in no environment in particular concerns who reads everything, and who administers something. */
function maySee(rights: Rights, { environment }: Change): boolean {
  return environment === null
    ? rights.may('read', null) || rights.maySomewhere('administer')
    : rights.may('read', environment)
}
