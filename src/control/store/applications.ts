import type { Kysely } from 'kysely'
import type { Config } from '../../protocol/config/config.ts'
import { DployError } from '../../protocol/errors.ts'
import { newId } from '../../protocol/ids.ts'
import type { Tables } from './schema.ts'

export interface Environment {
  id: string
  application: string
  name: string
  config: Config
  base: string | null
  wantedRelease: string | null
  /** The tag of the servers that serve, where two groups take turns; null: all do. */
  liveGroup: string | null
  /** What servers were found to be ahead by; until a person has looked, nothing converges. */
  takenOver: TakenOver | null
}

/** Servers knew more than was known here. */
export interface TakenOver {
  /** When that was found. Epoch milliseconds. */
  since: number
  /** The deployment that brought what they run; null where they only tell a fencing token. */
  deployment: { number: number; release: number | null; requestedBy: string; at: number } | null
}

/** A dploy.yml as it was sent, beside what was read from it. */
export interface ConfigFile {
  text: string
  file: string
  by: string
}

export interface EnvironmentServer {
  id: string
  name: string
  address: string | null
  port: number | null
  tags: Record<string, string>
}

/** Queries over applications, their environments and which servers these have. */
export class Applications {
  readonly #db: Kysely<Tables>

  constructor(db: Kysely<Tables>) {
    this.#db = db
  }

  /** Records a dploy.yml: its application, environments and servers. What it no longer names keeps its history; so do environments that are not `only` wanted, as they are. `base` undefined: it stays. */
  async apply(
    config: Config,
    base: string | null | undefined,
    now: number,
    only: (environment: string) => boolean = () => true,
    file: ConfigFile | null = null,
  ): Promise<void> {
    await this.#db.transaction().execute(async (trx) => {
      await trx
        .insertInto('applications')
        .values({ id: newId('app'), name: config.application, created_at: now })
        .onConflict((oc) => oc.column('name').doNothing())
        .execute()
      const { id: applicationId } = await trx
        .selectFrom('applications')
        .select('id')
        .where('name', '=', config.application)
        .executeTakeFirstOrThrow()
      const text = JSON.stringify(config)
      const sent = { config_text: file?.text ?? null, config_file: file?.file ?? null, config_by: file?.by ?? null }
      for (const [name, environment] of Object.entries(config.environments)) {
        if (!only(name)) continue
        await trx
          .insertInto('environments')
          .values({
            id: newId('env'),
            application_id: applicationId,
            name,
            config: text,
            base: base ?? null,
            wanted_release_id: null,
            fence: 0,
            created_at: now,
            updated_at: now,
            ...sent,
          })
          .onConflict((oc) =>
            oc
              .columns(['application_id', 'name'])
              .doUpdateSet({ config: text, ...sent, ...(base === undefined ? {} : { base }), updated_at: now }),
          )
          .execute()
        const { id: environmentId } = await trx
          .selectFrom('environments')
          .select('id')
          .where('application_id', '=', applicationId)
          .where('name', '=', name)
          .executeTakeFirstOrThrow()
        await trx
          .deleteFrom('environment_servers')
          .where('environment_id', '=', environmentId)
          .where('added', '=', 0)
          .execute()
        for (const [position, server] of environment.servers.entries()) {
          await trx
            .insertInto('servers')
            .values({
              id: newId('srv'),
              name: server.name,
              public_key: null,
              facts: null,
              last_seen_at: null,
              created_at: now,
            })
            .onConflict((oc) => oc.column('name').doNothing())
            .execute()
          const { id: serverId } = await trx
            .selectFrom('servers')
            .select('id')
            .where('name', '=', server.name)
            .executeTakeFirstOrThrow()
          await trx
            .insertInto('environment_servers')
            .values({ environment_id: environmentId, server_id: serverId, position, ...listed(server) })
            .onConflict((oc) =>
              oc.columns(['environment_id', 'server_id']).doUpdateSet({ position, ...listed(server), added: 0 }),
            )
            .execute()
        }
      }
    })
  }

  /** Every environment, in order of application and name. */
  async environments(): Promise<Environment[]> {
    const rows = await this.#environmentRows().orderBy('applications.name').orderBy('environments.name').execute()
    return rows.map(environmentOf)
  }

  /** Throws `environment.unknown`, naming those there are. */
  async environment(application: string, name: string): Promise<Environment> {
    const row = await this.#environmentRows()
      .where('applications.name', '=', application)
      .where('environments.name', '=', name)
      .executeTakeFirst()
    if (row) return environmentOf(row)
    const known = (await this.environments()).map((one) => `${one.application}/${one.name}`)
    throw new DployError(
      'environment.unknown',
      `There is no environment ${application}/${name}; known: ${known.join(', ') || 'none'}`,
    )
  }

  /** The dploy.yml that an environment follows, as it was sent, and when; `sent` null: it came before that was kept. */
  async configFile(environmentId: string): Promise<{ at: number; sent: ConfigFile | null }> {
    const row = await this.#db
      .selectFrom('environments')
      .select(['config_text', 'config_file', 'config_by', 'updated_at'])
      .where('id', '=', environmentId)
      .executeTakeFirstOrThrow()
    return {
      at: row.updated_at,
      sent:
        row.config_text === null
          ? null
          : { text: row.config_text, file: row.config_file ?? 'dploy.yml', by: row.config_by ?? '' },
    }
  }

  /** The id of an environment; null if there is none. */
  async environmentId(application: string, name: string): Promise<string | null> {
    const row = await this.#environmentRows()
      .where('applications.name', '=', application)
      .where('environments.name', '=', name)
      .executeTakeFirst()
    return row?.id ?? null
  }

  async environmentById(id: string): Promise<Environment> {
    return environmentOf(await this.#environmentRows().where('environments.id', '=', id).executeTakeFirstOrThrow())
  }

  /** The servers of an environment, in the order of dploy.yml; after them those that joined without being listed there. */
  async servers(environmentId: string): Promise<EnvironmentServer[]> {
    const rows = await this.#db
      .selectFrom('environment_servers')
      .innerJoin('servers', 'servers.id', 'environment_servers.server_id')
      .select([
        'servers.id',
        'servers.name',
        'environment_servers.address',
        'environment_servers.port',
        'environment_servers.tags',
      ])
      .where('environment_id', '=', environmentId)
      .orderBy('added')
      .orderBy('position')
      .orderBy('servers.name')
      .execute()
    return rows.map((row) => ({ ...row, tags: JSON.parse(row.tags) as Record<string, string> }))
  }

  /** Where a server is, as the dploy.yml that was applied last says; null if none says it. */
  async addressOf(serverId: string): Promise<string | null> {
    const row = await this.#db
      .selectFrom('environment_servers')
      .select('address')
      .where('server_id', '=', serverId)
      .where('address', 'is not', null)
      .executeTakeFirst()
    return row?.address ?? null
  }

  /** The environments that a server belongs to. */
  async environmentsOf(serverId: string): Promise<Environment[]> {
    const rows = await this.#environmentRows()
      .innerJoin('environment_servers', 'environment_servers.environment_id', 'environments.id')
      .where('environment_servers.server_id', '=', serverId)
      .execute()
    return rows.map(environmentOf)
  }

  #environmentRows() {
    return this.#db
      .selectFrom('environments')
      .innerJoin('applications', 'applications.id', 'environments.application_id')
      .select([
        'environments.id',
        'applications.name as application',
        'environments.name',
        'environments.config',
        'environments.base',
        'environments.wanted_release_id',
        'environments.live_group',
        'environments.taken_over',
      ])
  }
}

function listed(server: Config['environments'][string]['servers'][number]) {
  return { address: server.address ?? null, port: server.port ?? null, tags: JSON.stringify(server.tags) }
}

function environmentOf(row: {
  id: string
  application: string
  name: string
  config: string
  base: string | null
  wanted_release_id: string | null
  live_group: string | null
  taken_over: string | null
}): Environment {
  return {
    id: row.id,
    application: row.application,
    name: row.name,
    config: JSON.parse(row.config) as Config,
    base: row.base,
    wantedRelease: row.wanted_release_id,
    liveGroup: row.live_group,
    takenOver: row.taken_over === null ? null : (JSON.parse(row.taken_over) as TakenOver),
  }
}
