import * as z from 'zod'
import { heldRightSchema } from './access.ts'
import { emailSchema, nameSchema, passwordSchema } from './people.ts'
import type { Route } from './route.ts'

/** Who asks, and what they may do. Times are epoch milliseconds. */
export const sessionSchema = z.object({
  /** `person`: signed in by cookie. `token`: an API token. `local`: this machine's user, over the unix socket. Null: nobody. */
  kind: z.enum(['person', 'token', 'local']).nullable(),
  /** As it stands in the records. Empty for nobody. */
  name: z.string(),
  email: z.string().nullable(),
  /** Id of the person; null for who is none. */
  person: z.string().nullable(),
  rights: z.array(heldRightSchema),
  /** When the session ends at the latest; null: never. */
  expiresAt: z.number().nullable(),
  /** Whether there is an administrator. Without one the page to open is the one-use link that `dploy serve` prints. */
  setUp: z.boolean(),
})
export type Session = z.infer<typeof sessionSchema>

export const sessionEntrySchema = z.object({
  id: z.string(),
  current: z.boolean(),
  createdAt: z.number(),
  seenAt: z.number(),
  /** Address from which it was used last. */
  address: z.string(),
  /** What the browser calls itself. */
  browser: z.string(),
})

/** A one-use link's secret: what follows `#` in `/setup#…` and `/invitation#…`. */
const oneUse = z.string().min(1).max(200)

export const sessionRoutes = {
  session: {
    method: 'GET',
    path: '/api/v1/session',
    summary: 'Who asks, and what they may do',
    access: 'open',
    response: sessionSchema,
  },
  signIn: {
    method: 'POST',
    path: '/api/v1/session',
    summary: 'Sign in; answers with the cookie of a session',
    access: 'open',
    body: z.strictObject({ email: z.string().min(1).max(320), password: z.string().min(1).max(1024) }),
    response: sessionSchema,
  },
  signOut: {
    method: 'DELETE',
    path: '/api/v1/session',
    summary: 'End this session',
    access: 'open',
    response: z.object({}),
  },
  sessions: {
    method: 'GET',
    path: '/api/v1/sessions',
    summary: "One's own sessions",
    access: 'known',
    response: z.object({ sessions: z.array(sessionEntrySchema) }),
  },
  signOutEverywhere: {
    method: 'DELETE',
    path: '/api/v1/sessions',
    summary: "End all of one's own sessions, this one too",
    access: 'own',
    response: z.object({ ended: z.number() }),
  },
  changePassword: {
    method: 'PUT',
    path: '/api/v1/session/password',
    summary: "Change one's own password; ends all other sessions",
    access: 'own',
    body: z.strictObject({ old: z.string().min(1).max(1024), password: passwordSchema }),
    response: z.object({}),
  },
  setUp: {
    method: 'POST',
    path: '/api/v1/setup',
    summary:
      'Become the first administrator, with the one-use link that dploy serve prints; answers with the cookie of a session',
    access: 'open',
    body: z.strictObject({ token: oneUse, email: emailSchema, name: nameSchema, password: passwordSchema }),
    response: sessionSchema,
  },
  acceptInvitation: {
    method: 'POST',
    path: '/api/v1/invitation',
    summary: 'Choose a password, with the one-use link of an invitation; answers with the cookie of a session',
    access: 'open',
    body: z.strictObject({ token: oneUse, password: passwordSchema }),
    response: sessionSchema,
  },
} as const satisfies Record<string, Route>
