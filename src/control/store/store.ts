import type { Kysely } from 'kysely'
import { Answers } from './answers.ts'
import { Applications } from './applications.ts'
import { Approvals } from './approvals.ts'
import { Gates } from './gates.ts'
import { AuditLog } from './audit.ts'
import { Changes } from './changes.ts'
import { Deployments } from './deployments.ts'
import { EventLog } from './events.ts'
import { Figures } from './figures.ts'
import { Locks } from './locks.ts'
import { Links } from './links.ts'
import { migrate } from './migrate.ts'
import { Outbox } from './outbox.ts'
import { People } from './people.ts'
import { Releases } from './releases.ts'
import { Runs } from './runs.ts'
import { notice } from './noticed.ts'
import type { Tables } from './schema.ts'
import { Steps } from './steps.ts'
import { Summaries } from './summaries.ts'
import { SharedRecords } from './shared-records.ts'
import { ServerHistory } from './server-history.ts'
import { Secrets } from './secrets.ts'
import { Servers } from './servers.ts'
import { Sessions } from './sessions.ts'
import { Sightings } from './sightings.ts'
import type { SecretBox } from '../secrets/secret-box.ts'
import { Tokens } from './tokens.ts'
import { Webhooks } from './webhooks.ts'

/** All that the control plane remembers. */
export interface Store extends AsyncDisposable {
  applications: Applications
  servers: Servers
  releases: Releases
  deployments: Deployments
  steps: Steps
  summaries: Summaries
  history: ServerHistory
  events: EventLog
  locks: Locks
  sharedRecords: SharedRecords
  secrets: Secrets
  runs: Runs
  tokens: Tokens
  people: People
  sessions: Sessions
  sightings: Sightings
  links: Links
  audit: AuditLog
  approvals: Approvals
  webhooks: Webhooks
  gates: Gates
  figures: Figures
  answers: Answers
  outbox: Outbox
  /** What has changed since when. */
  changes: Changes
}

/** The store over an open database, migrated to the newest schema. `box` seals the secrets in it. */
export async function openStore(database: Kysely<Tables>, box: SecretBox): Promise<Store> {
  await migrate(database)
  const events = new EventLog(database)
  const store: Store = {
    applications: new Applications(database),
    servers: new Servers(database),
    releases: new Releases(database),
    deployments: new Deployments(database, events),
    steps: new Steps(database),
    summaries: new Summaries(database),
    history: new ServerHistory(database),
    events,
    locks: new Locks(database),
    sharedRecords: new SharedRecords(database),
    secrets: new Secrets(database, box),
    runs: new Runs(database),
    tokens: new Tokens(database),
    people: new People(database),
    sessions: new Sessions(database),
    sightings: new Sightings(database),
    links: new Links(database),
    audit: new AuditLog(database),
    approvals: new Approvals(database, events),
    webhooks: new Webhooks(database, box),
    gates: new Gates(database, events),
    figures: new Figures(database),
    answers: new Answers(database, box),
    outbox: new Outbox(database),
    changes: new Changes(),
    async [Symbol.asyncDispose]() {
      await events.flush()
      await Promise.all([store.servers.settled(), store.sightings.settled()])
      await database.destroy()
    },
  }
  notice(store, store.changes, database)
  return store
}
