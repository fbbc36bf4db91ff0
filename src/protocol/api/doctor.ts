import * as z from 'zod'
import type { Route } from './route.ts'

/** Something that is wrong, or will be: where, what, and the one command to type next. */
export const findingSchema = z.object({
  /** Null: it is about the whole environment. */
  server: z.string().nullable(),
  /** `error`: a deployment would fail, or users would notice it. */
  severity: z.enum(['error', 'warning']),
  /** A code of the table of errors. */
  code: z.string(),
  message: z.string(),
  next: z.string(),
})
export type FindingReport = z.infer<typeof findingSchema>

export const doctorRoutes = {
  doctor: {
    method: 'GET',
    path: '/api/v1/environments/:application/:environment/doctor',
    summary: 'What would go wrong in a deployment, asked of every server now; changes nothing',
    access: 'read',
    params: z.object({ application: z.string().min(1), environment: z.string().min(1) }),
    response: z.object({
      servers: z.array(z.string()),
      /** Those that could be asked. Of the others nothing is said to be well. Left out: an older control plane answered. */
      asked: z.array(z.string()).optional(),
      findings: z.array(findingSchema),
    }),
  },
} as const satisfies Record<string, Route>
