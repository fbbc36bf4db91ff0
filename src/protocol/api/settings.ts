import * as z from 'zod'
import { placeSchema } from './access.ts'
import type { Route } from './route.ts'

/** What an environment is set to: its dploy.yml, and what that means. Times are epoch milliseconds. */
export const settingsSchema = z.object({
  /** When its dploy.yml was applied last. */
  appliedAt: z.number(),
  /** That file, line by line, each with what its keys mean; null: an older dploy took it, which did not keep the text. */
  file: z
    .object({
      name: z.string(),
      by: z.string(),
      lines: z.array(
        z.object({ text: z.string(), keys: z.array(z.object({ path: z.string(), meaning: z.string() })) }),
      ),
    })
    .nullable(),
  /** What is in force, the environment's own first: as the file says, or by default. */
  settings: z.array(
    z.object({
      key: z.string(),
      value: z.string(),
      meaning: z.string(),
      /** Null: not known, without the file. */ written: z.boolean().nullable(),
    }),
  ),
  variables: z.array(z.object({ name: z.string(), value: z.string(), from: z.enum(['application', 'environment']) })),
  /** Names of the secrets that the file asks for, and whether each has a value. Never a value. */
  secrets: z.array(z.object({ name: z.string(), set: z.boolean() })),
  balancer: z.string(),
})
export type EnvironmentSettings = z.infer<typeof settingsSchema>

export const settingsRoutes = {
  settings: {
    method: 'GET',
    path: '/api/v1/environments/:application/:environment/settings',
    summary:
      'Its dploy.yml as it was read, what each line means, what is in force, and the variables with their values',
    // It holds values of variables, which a viewer is not shown.
    access: 'deploy',
    etag: true,
    params: placeSchema,
    response: settingsSchema,
  },
} as const satisfies Record<string, Route>
