import * as z from 'zod'
import type { Route } from './route.ts'

/** Something that somebody changed, or was refused. */
export const auditEntrySchema = z.object({
  seq: z.number(),
  /** Epoch milliseconds. */
  at: z.number(),
  who: z.string(),
  kind: z.enum(['person', 'token', 'local', 'webhook', 'anyone']),
  /** From where: an address; empty over the unix socket. */
  address: z.string(),
  /** Name of the route: `deploy`, `setSecret`. */
  action: z.string(),
  application: z.string().nullable(),
  environment: z.string().nullable(),
  /** What else it is about: a server, a person, a deployment by its number. */
  subject: z.string().nullable(),
  /** `begun`: it is under way, or the control plane was ended in the middle. */
  outcome: z.enum(['begun', 'done', 'refused', 'failed']),
  /** Code of the error, where it was refused or failed. */
  problem: z.string().nullable(),
  /** What was changed, as JSON values; never a secret. */
  before: z.unknown().nullable(),
  after: z.unknown().nullable(),
})
export type AuditEntry = z.infer<typeof auditEntrySchema>

const filter = z.object({
  who: z.string().max(200).optional(),
  action: z.string().max(100).optional(),
  application: z.string().max(200).optional(),
  environment: z.string().max(200).optional(),
  /** Epoch milliseconds. */
  since: z.coerce.number().int().min(0).optional(),
  until: z.coerce.number().int().min(0).optional(),
})

export const auditRoutes = {
  audit: {
    method: 'GET',
    path: '/api/v1/audit',
    summary: 'Who changed what, the newest first',
    access: 'administer',
    reach: 'some',
    query: filter.extend({
      /** `next` of the answer before. */
      cursor: z.coerce.number().int().min(1).optional(),
      limit: z.coerce.number().int().min(1).max(500).default(50),
    }),
    response: z.object({ entries: z.array(auditEntrySchema), next: z.number().nullable() }),
  },
  exportAudit: {
    method: 'GET',
    path: '/api/v1/audit/export',
    summary: 'The whole audit log as a file, the oldest first',
    access: 'administer',
    reach: 'some',
    query: filter.extend({ format: z.enum(['csv', 'ndjson']).default('ndjson') }),
    response: z.string(),
    stream: 'text',
  },
} as const satisfies Record<string, Route>
