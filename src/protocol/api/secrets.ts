import * as z from 'zod'
import type { Route } from './route.ts'

const place = z.object({ application: z.string().min(1), environment: z.string().min(1) })
const secretName = z
  .string()
  .regex(/^[A-Za-z_][A-Za-z0-9_]{0,127}$/, 'must be a name of letters, digits and "_", the first no digit')

export const secretSchema = z.object({
  name: z.string(),
  /** Epoch milliseconds. */ setAt: z.number(),
  setBy: z.string(),
})

/** Secrets are written and never read. */
export const secretRoutes = {
  secrets: {
    method: 'GET',
    path: '/api/v1/environments/:application/:environment/secrets',
    summary: 'Names of the secrets, never their values',
    access: 'read',
    params: place,
    response: z.object({ secrets: z.array(secretSchema) }),
  },
  setSecret: {
    method: 'PUT',
    path: '/api/v1/environments/:application/:environment/secrets/:name',
    summary: 'Set a secret; the next release gets it',
    access: 'administer',
    params: place.extend({ name: secretName }),
    body: z.strictObject({
      value: z
        .string()
        .min(1)
        .max(65_536)
        .regex(/^[^\0]*$/, 'must not hold a null byte'),
      setBy: z.string().max(200).optional(),
    }),
    response: secretSchema,
  },
  removeSecret: {
    method: 'DELETE',
    path: '/api/v1/environments/:application/:environment/secrets/:name',
    summary: 'Forget a secret with all the values it had',
    access: 'administer',
    params: place.extend({ name: secretName }),
    response: z.object({}),
  },
} as const satisfies Record<string, Route>
