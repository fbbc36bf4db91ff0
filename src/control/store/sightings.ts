import type { Kysely } from 'kysely'
import { serviceStateSchema, type ServiceState } from '../../protocol/agent-messages.ts'
import type { Tables } from './schema.ts'
import { Together } from './together.ts'

/** What a server was seen to run in an environment. `seenAt`: epoch milliseconds. */
export interface Sighting {
  seenAt: number
  /** Number of the release in place; null: none. */
  release: number | null
  service: ServiceState
}

/** How exactly it is kept when a server was last seen that runs what it ran before. Milliseconds. */
const keptEvery = 60_000

/** What servers were last seen to run. */
export class Sightings {
  readonly #db: Kysely<Tables>
  readonly #together: Together
  readonly #kept = new Map<string, Sighting>()

  constructor(db: Kysely<Tables>) {
    this.#db = db
    this.#together = new Together(db)
  }

  /** It was seen now. What is as it was is stored once a minute. */
  async add(environmentId: string, serverId: string, sighting: Sighting): Promise<void> {
    const key = `${environmentId} ${serverId}`
    const kept = this.#kept.get(key)
    if (
      kept &&
      sighting.seenAt - kept.seenAt < keptEvery &&
      kept.release === sighting.release &&
      JSON.stringify(kept.service) === JSON.stringify(sighting.service)
    )
      return
    this.#kept.set(key, sighting)
    const row = {
      seen_at: sighting.seenAt,
      release_number: sighting.release,
      service: JSON.stringify(sighting.service),
    }
    await this.#together.write((trx) =>
      trx
        .insertInto('sightings')
        .values({ environment_id: environmentId, server_id: serverId, ...row })
        .onConflict((oc) => oc.columns(['environment_id', 'server_id']).doUpdateSet(row))
        .execute(),
    )
  }

  /** Resolves once it is stored what was seen. */
  settled(): Promise<void> {
    return this.#together.settled()
  }

  /** Null: it was never seen there. */
  async last(environmentId: string, serverId: string): Promise<Sighting | null> {
    const row = await this.#db
      .selectFrom('sightings')
      .selectAll()
      .where('environment_id', '=', environmentId)
      .where('server_id', '=', serverId)
      .executeTakeFirst()
    const service = row && serviceStateSchema.safeParse(JSON.parse(row.service)).data
    return service ? { seenAt: row.seen_at, release: row.release_number, service } : null
  }
}
