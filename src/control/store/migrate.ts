import type { Kysely, Migration } from 'kysely'
import { Migrator } from 'kysely'
import { DployError } from '../../protocol/errors.ts'
import { begin } from './migrations/001-begin.ts'
import { servers } from './migrations/003-servers.ts'
import { runs } from './migrations/004-runs.ts'
import { secrets } from './migrations/010-secrets.ts'
import { people } from './migrations/011-people.ts'
import { approvals } from './migrations/012-approvals.ts'
import { answers } from './migrations/013-answers.ts'
import { webhooks } from './migrations/015-webhooks.ts'
import { gates } from './migrations/017-gates.ts'
import { configText } from './migrations/019-config-text.ts'
import { summaries } from './migrations/041-summaries.ts'
import { sightings } from './migrations/042-sightings.ts'
import { liveGroup } from './migrations/201-live-group.ts'
import { takenOver } from './migrations/241-taken-over.ts'
import type { Tables } from './schema.ts'

/** Migrations only grow: a released one is never changed. */
export const migrations: Record<string, Migration> = {
  '001-begin': begin,
  '003-servers': servers,
  '004-runs': runs,
  '010-secrets': secrets,
  '011-people': people,
  '012-approvals': approvals,
  '013-answers': answers,
  '015-webhooks': webhooks,
  '017-gates': gates,
  '019-config-text': configText,
  '041-summaries': summaries,
  '042-sightings': sightings,
  '201-live-group': liveGroup,
  '241-taken-over': takenOver,
}

/** Brings the database to the newest schema. Throws `internal` with the migration's name if one fails. */
export async function migrate(database: Kysely<Tables>): Promise<void> {
  const migrator = new Migrator({
    db: database,
    provider: { getMigrations: async () => migrations },
    allowUnorderedMigrations: true,
  })
  const { error, results } = await migrator.migrateToLatest()
  const failed = results?.find((result) => result.status === 'Error')
  if (error !== undefined)
    throw new DployError(
      'internal',
      `The database could not be migrated${failed ? ` (${failed.migrationName})` : ''}: ${String(error)}`,
      { cause: error },
    )
}
