import { closeSync, existsSync, fsyncSync, mkdirSync, openSync, readFileSync, renameSync, writeSync } from 'node:fs'
import { join } from 'node:path'
import type { AgentParams, AgentResult } from '../protocol/agent-messages.ts'
import { sharedRecordSchema, type SharedRecord } from '../protocol/shared-record.ts'
import { below, type ApplicationDirectory } from './application-directory.ts'
import type { Journal } from './journal.ts'
import { replayOf } from './replay.ts'

/**
 * The lock and the record of an environment, for control planes that know nothing of each other. The lock is in the
 * journal, which several agents on one server share; the record stands beside the application. Another application's is
 * not given. Throws `server.directory_taken` where the lock is wanted of a directory that is another application's.
 */
export function holdShared(
  params: AgentParams<'hold'>,
  options: { directory: ApplicationDirectory | null; journal: Journal; now: number },
): AgentResult<'hold'> {
  const { application, environment, take, give, force, record } = params
  const { journal, now } = options
  if (options.directory === null)
    return {
      granted: false,
      lock: journal.lock(application, environment, now),
      epoch: journal.epoch(application, environment),
      record: null,
    }
  const here = options.directory
  if (take) here.mustNotBeForeign(params)
  const directory = join(here.path, '.dploy/environments')
  const path = join(directory, `${environment}.json`)
  return journal.exclusively(() => {
    const before = journal.lock(application, environment, now)
    const deployment = take?.holder.deployment ?? give
    const granted =
      force ||
      before === null ||
      before.deployment === deployment ||
      (take?.over !== null && before.deployment === take?.over)
    if (record !== null && granted && deployment !== null) {
      mkdirSync(directory, { recursive: true, mode: 0o755 })
      writeDurably(path, JSON.stringify(record))
    }
    if (granted && take) journal.setLock(application, environment, take.holder, now + take.lease)
    else if (granted && (give !== null || force)) journal.setLock(application, environment, null, 0)
    // Who holds it already, or gives it up, knows what stands here: thirty deployments with their releases, each time.
    const known = deployment !== null && before?.deployment === deployment
    return {
      granted,
      lock: journal.lock(application, environment, now),
      epoch: journal.epoch(application, environment),
      record: known || here.foreign(params) !== null ? null : unlessKnown(readRecord(path), params.known),
    }
  })
}

/** Whether nothing is asked but what there is, where there is nothing: nothing is made by looking. */
export function isLookOnly({ directory, ...asked }: AgentParams<'hold'>, root: string): boolean {
  return replayOf('hold', { directory, ...asked }) === 'reads' && !existsSync(below(root, directory))
}

function unlessKnown(record: SharedRecord | null, known: number | null | undefined): SharedRecord | null {
  return record?.writtenAt === known ? null : record
}

function readRecord(path: string): SharedRecord | null {
  try {
    const parsed = sharedRecordSchema.safeParse(JSON.parse(readFileSync(path, 'utf8')))
    return parsed.success ? parsed.data : null
  } catch {
    return null
  }
}

function writeDurably(path: string, text: string): void {
  const temporary = `${path}.new-${process.pid}`
  const file = openSync(temporary, 'w', 0o644)
  writeSync(file, text)
  fsyncSync(file)
  closeSync(file)
  renameSync(temporary, path)
}
