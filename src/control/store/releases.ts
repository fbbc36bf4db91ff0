import type { Kysely } from 'kysely'
import { DployError } from '../../protocol/errors.ts'
import { newId } from '../../protocol/ids.ts'
import type { Digest } from '../../protocol/manifest.ts'
import type { ReleaseSpec } from '../../protocol/release-spec.ts'
import { runningStates } from '../deploy/run/states.ts'
import type { DeploymentRequest } from './deployment-request.ts'
import type { Tables } from './schema.ts'

export interface Release {
  id: string
  number: number
  createdAt: number
  spec: ReleaseSpec
}

/** Queries over releases: made once, never changed. */
export class Releases {
  readonly #db: Kysely<Tables>

  constructor(db: Kysely<Tables>) {
    this.#db = db
  }

  /** Makes the next release of an environment. */
  async add(environmentId: string, spec: Omit<ReleaseSpec, 'id' | 'number'>, now: number): Promise<Release> {
    return this.#db.transaction().execute(async (trx) => {
      const last = await trx
        .selectFrom('releases')
        .select((eb) => eb.fn.max('number').as('number'))
        .where('environment_id', '=', environmentId)
        .executeTakeFirst()
      const id = newId('rel')
      const number = Number(last?.number ?? 0) + 1
      const whole: ReleaseSpec = { ...spec, id, number }
      await trx
        .insertInto('releases')
        .values({
          id,
          environment_id: environmentId,
          number,
          artifact: spec.artifact,
          spec: JSON.stringify(whole),
          created_at: now,
        })
        .execute()
      return { id, number, createdAt: now, spec: whole }
    })
  }

  /** Throws `release.unknown`. */
  async get(id: string): Promise<Release> {
    const row = await this.#db.selectFrom('releases').selectAll().where('id', '=', id).executeTakeFirst()
    if (!row) throw new DployError('release.unknown', `There is no release ${id}`)
    return releaseOf(row)
  }

  /** Throws `release.unknown`. */
  async byNumber(environmentId: string, number: number): Promise<Release> {
    const row = await this.#db
      .selectFrom('releases')
      .selectAll()
      .where('environment_id', '=', environmentId)
      .where('number', '=', number)
      .executeTakeFirst()
    if (!row) throw new DployError('release.unknown', `There is no release ${number} in this environment`)
    return releaseOf(row)
  }

  /** Whether a deployment of this control plane made it; else it stands in what servers keep of others. */
  async isMadeHere(id: string): Promise<boolean> {
    return (
      (await this.#db
        .selectFrom('deployments')
        .select('id')
        .where('release_id', '=', id)
        .where('kind', '=', 'deploy')
        .where('fence', '>', 0)
        .executeTakeFirst()) !== undefined
    )
  }

  /** The newest first; those before number `before`. */
  async list(environmentId: string, limit: number, before?: number): Promise<Release[]> {
    const rows = await this.#db
      .selectFrom('releases')
      .selectAll()
      .where('environment_id', '=', environmentId)
      .$if(before !== undefined, (query) => query.where('number', '<', before!))
      .orderBy('number', 'desc')
      .limit(limit)
      .execute()
    return rows.map(releaseOf)
  }

  /** Artifacts of an environment that may be deployed again: of its `count` newest releases, and of as many that were deployed with success. */
  async artifactsOf(environmentId: string, count: number): Promise<Digest[]> {
    const newest = this.#db
      .selectFrom('releases')
      .select(['artifact', 'number'])
      .where('environment_id', '=', environmentId)
      .orderBy('number', 'desc')
      .limit(count)
    const good = newest.where('id', 'in', (eb) =>
      eb
        .selectFrom('deployments')
        .select('release_id')
        .where('state', '=', 'succeeded')
        .where('release_id', 'is not', null)
        .$castTo<{ release_id: string }>(),
    )
    const rows = await Promise.all([newest.execute(), good.execute()])
    return rows.flat().map(({ artifact }) => artifact)
  }

  /** Artifacts of the deployments that are not over, those that wait for approval too. */
  async artifactsInUse(): Promise<Digest[]> {
    const rows = await this.#db
      .selectFrom('deployments')
      .leftJoin('releases as to', 'to.id', 'deployments.release_id')
      .leftJoin('releases as of', 'of.id', 'deployments.from_release_id')
      .select(['deployments.request', 'to.artifact as to', 'of.artifact as from'])
      .where('deployments.state', 'in', runningStates)
      .execute()
    return rows
      .flatMap(({ request, to, from }) => [(JSON.parse(request) as DeploymentRequest).artifact, to, from])
      .filter((artifact) => artifact !== null)
  }

  /** Whether an agent that has this release may ask for this artifact: it does so only for a release of its own environments. */
  async isOnServer(releaseId: string, serverId: string): Promise<Release | null> {
    const row = await this.#db
      .selectFrom('releases')
      .innerJoin('environment_servers', 'environment_servers.environment_id', 'releases.environment_id')
      .selectAll('releases')
      .where('releases.id', '=', releaseId)
      .where('environment_servers.server_id', '=', serverId)
      .executeTakeFirst()
    return row ? releaseOf(row) : null
  }

  /**
   * The release to go back to: of those that were deployed with success before the wanted one, the latest.
   * Throws `release.none_before`.
   */
  async before(environmentId: string, wantedId: string | null): Promise<Release> {
    const row = await this.#db
      .selectFrom('releases')
      .innerJoin('deployments', 'deployments.release_id', 'releases.id')
      .selectAll('releases')
      .where('releases.environment_id', '=', environmentId)
      .where('deployments.state', '=', 'succeeded')
      .where('deployments.kind', '!=', 'converge')
      .$if(wantedId !== null, (query) =>
        query
          .where('releases.id', '!=', wantedId!)
          .where('releases.number', '<', (eb) =>
            eb.selectFrom('releases as wanted').select('wanted.number').where('wanted.id', '=', wantedId!),
          ),
      )
      .orderBy('deployments.number', 'desc')
      .limit(1)
      .executeTakeFirst()
    if (!row) throw new DployError('release.none_before', 'There is no earlier release that was deployed with success')
    return releaseOf(row)
  }
}

function releaseOf(row: { id: string; number: number; spec: string; created_at: number }): Release {
  return { id: row.id, number: row.number, createdAt: row.created_at, spec: JSON.parse(row.spec) as ReleaseSpec }
}
