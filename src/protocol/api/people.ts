import * as z from 'zod'
import { grantSchema } from './access.ts'
import type { Route } from './route.ts'

/** An address at which a person is known; kept in lower case. */
export const emailSchema = z.email().max(320).toLowerCase()
export const nameSchema = z
  .string()
  .trim()
  .min(1)
  .max(100)
  .regex(/^[^\p{Cc}]*$/u, 'must hold no control characters')
/** Length alone makes a password good (NIST SP 800-63B-4, 3.1.1.2). */
export const passwordSchema = z.string().min(12, 'must have 12 characters or more').max(1024)

export const personSchema = z.object({
  id: z.string(),
  email: z.string(),
  name: z.string(),
  grants: z.array(grantSchema),
  createdAt: z.number(),
  /** When they last used dploy; null: never. */
  seenAt: z.number().nullable(),
  /** They have not chosen a password yet. */
  invited: z.boolean(),
})
export type Person = z.infer<typeof personSchema>

const byId = z.object({ person: z.string().min(1).max(100) })
const grants = z.array(grantSchema).max(500)
/** A one-use link `/invitation#…`, shown once; the secret in it; and when it ends. */
const invitation = { link: z.string(), token: z.string(), expiresAt: z.number() }

export const peopleRoutes = {
  people: {
    method: 'GET',
    path: '/api/v1/people',
    summary: 'Everybody who can sign in, and what they may do',
    access: 'administer',
    response: z.object({ people: z.array(personSchema) }),
  },
  addPerson: {
    method: 'POST',
    path: '/api/v1/people',
    summary: 'Add a person; answers a one-use link with which they choose their password',
    access: 'administer',
    idempotent: true,
    body: z.strictObject({ email: emailSchema, name: nameSchema, grants: grants.default([]) }),
    response: z.object({ person: personSchema, ...invitation }),
  },
  invitePerson: {
    method: 'POST',
    path: '/api/v1/people/:person/invitation',
    summary: 'A new one-use link for a person who lost theirs or their password; their sessions end',
    access: 'administer',
    idempotent: true,
    params: byId,
    response: z.object(invitation),
  },
  setGrants: {
    method: 'PUT',
    path: '/api/v1/people/:person/grants',
    summary: 'Say what a person may do',
    access: 'administer',
    params: byId,
    body: z.strictObject({ grants }),
    response: personSchema,
  },
  removePerson: {
    method: 'DELETE',
    path: '/api/v1/people/:person',
    summary: 'Remove a person: their sessions and tokens end',
    access: 'administer',
    params: byId,
    response: z.object({}),
  },
} as const satisfies Record<string, Route>
