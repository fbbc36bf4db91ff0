import type { AuditEntry } from '../../../protocol/api/audit.ts'
import type { ApiContext } from '../context.ts'
import type { Call, Handlers } from '../server.ts'

const columns = [
  'seq',
  'at',
  'who',
  'kind',
  'address',
  'action',
  'application',
  'environment',
  'subject',
  'outcome',
  'problem',
  'before',
  'after',
] as const satisfies readonly (keyof AuditEntry)[]

/** What the routes of the audit log do. An administrator of some environments reads what concerns these. */
export function auditHandlers({ store }: ApiContext): Pick<Handlers, 'audit' | 'exportAudit'> {
  const filterOf = ({ query, caller }: Call<'audit'> | Call<'exportAudit'>) => ({
    who: query.who,
    action: query.action,
    application: query.application,
    environment: query.environment,
    since: query.since,
    until: query.until,
    environments: caller.rights.environments('administer'),
  })
  return {
    async audit(call) {
      const { cursor, limit } = call.query
      const entries = await store.audit.list(filterOf(call), { cursor, limit: limit + 1 })
      return { entries: entries.slice(0, limit), next: entries.length > limit ? entries[limit - 1]!.seq : null }
    },

    exportAudit(call) {
      const csv = call.query.format === 'csv'
      call.reply.header('content-type', csv ? 'text/csv; charset=utf-8' : 'application/x-ndjson; charset=utf-8')
      call.reply.header('content-disposition', `attachment; filename="audit.${csv ? 'csv' : 'ndjson'}"`)
      return csv ? csvOf(store.audit.all(filterOf(call))) : linesOf(store.audit.all(filterOf(call)))
    },
  }
}

async function* csvOf(entries: AsyncIterable<AuditEntry>): AsyncGenerator<string> {
  yield `${columns.join(',')}\r\n`
  for await (const entry of entries)
    yield `${columns.map((column) => cell(column === 'at' ? new Date(entry.at).toISOString() : entry[column])).join(',')}\r\n`
}

async function* linesOf(entries: AsyncIterable<AuditEntry>): AsyncGenerator<string> {
  for await (const entry of entries) yield `${JSON.stringify(entry)}\n`
}

/** A value for RFC 4180. What a spreadsheet would take for a formula gets an apostrophe before it. */
function cell(value: unknown): string {
  if (value === null || value === undefined) return ''
  const text = typeof value === 'string' ? value : JSON.stringify(value)
  const safe = /^[=+\-@\t\r]/.test(text) ? `'${text}` : text
  return /[",\r\n]/.test(safe) ? `"${safe.replaceAll('"', '""')}"` : safe
}
