import type { FastifyReply, FastifyRequest } from 'fastify'
import type { Session } from '../../../protocol/api/session.ts'
import { DployError } from '../../../protocol/errors.ts'
import { hashPassword, isOutdated, isPassword } from '../../people/password.ts'
import type { PersonRow } from '../../store/people.ts'
import type { Caller } from '../call/caller.ts'
import type { ApiContext } from '../context.ts'
import { setSessionCookie } from '../call/cookie.ts'
import { rightsOf } from '../call/identify.ts'
import type { Handlers } from '../server.ts'

type Names =
  'session' | 'signIn' | 'signOut' | 'sessions' | 'signOutEverywhere' | 'changePassword' | 'setUp' | 'acceptInvitation'

/** What the routes of signing in and out do. */
export function sessionHandlers(context: ApiContext): Pick<Handlers, Names> {
  const { store, log } = context
  return {
    session: async ({ caller }) => sessionOf(context, caller),

    async signIn({ body, request, reply, tell }) {
      tell({ subject: body.email })
      const person = await store.people.byEmail(body.email)
      const known = await store.sessions.wasAt(person?.id ?? '', addressOf(request))
      const guess = beginGuess(context, body.email, request, reply, known)
      if (!(await isPassword(body.password, person?.password ?? null)) || !person?.password) {
        log.warn({ email: body.email, address: request.ip }, 'a wrong password')
        throw new DployError('sign_in.failed')
      }
      guess.succeeded()
      if (isOutdated(person.password)) await store.people.setPassword(person.id, await hashPassword(body.password))
      tell({ who: person.name })
      return signIn(context, person, request, reply)
    },

    async signOut({ caller, request, reply }) {
      if (caller.session) await store.sessions.end(caller.session.id)
      setSessionCookie(request, reply, null)
      return {}
    },

    async sessions({ caller }) {
      const list = await store.sessions.list(personOf(caller), Date.now())
      return { sessions: list.map((one) => ({ ...one, current: one.id === caller.session?.id })) }
    },

    async signOutEverywhere({ caller, request, reply }) {
      const ended = await store.sessions.endAll(personOf(caller))
      if (caller.session) setSessionCookie(request, reply, null)
      return { ended }
    },

    async changePassword({ body, caller, request, reply }) {
      // A token that leaked must not be worth a password.
      if (caller.kind !== 'person')
        throw new DployError('forbidden', 'Only who is signed in with a password changes it')
      const person = await store.people.get(personOf(caller))
      const guess = beginGuess(context, person.email, request, reply, true)
      if (!(await isPassword(body.old, person.password)))
        throw new DployError('sign_in.failed', 'The old password is wrong')
      guess.succeeded()
      await store.people.setPassword(person.id, await hashPassword(body.password))
      await store.sessions.endAll(person.id)
      await beginSession(context, person.id, request, reply)
      return {}
    },

    async setUp({ body, request, reply, tell }) {
      tell({ subject: body.email, who: body.name })
      // Looked at first, and used up last: a mistake in the rest of the form costs no link.
      const guess = beginGuess(context, 'the first administrator', request, reply, true)
      await store.links.check('setup', body.token, Date.now())
      guess.succeeded()
      const password = await hashPassword(body.password)
      const id = await store.people.addFirst({ email: body.email, name: body.name, password }, Date.now())
      await store.links.use('setup', body.token, Date.now())
      log.info({ email: body.email }, 'the first administrator')
      return signIn(context, await store.people.get(id), request, reply)
    },

    async acceptInvitation({ body, request, reply, tell }) {
      const guess = beginGuess(context, 'an invitation', request, reply, true)
      await store.links.check('invitation', body.token, Date.now())
      guess.succeeded()
      const password = await hashPassword(body.password)
      const { person: id } = await store.links.use('invitation', body.token, Date.now())
      const person = await store.people.get(id!)
      tell({ subject: person.email, who: person.name })
      await store.people.setPassword(person.id, password)
      await store.sessions.endAll(person.id)
      return signIn(context, person, request, reply)
    },
  }
}

/** Who a caller is, as the API shows it. */
async function sessionOf(context: ApiContext, caller: Caller): Promise<Session> {
  const known = caller.kind !== 'anyone'
  const rights = await Promise.all(
    caller.rights.list().map(async ({ right, environment }) => {
      if (environment === null) return { right, place: null }
      const { application, name } = await context.store.applications.environmentById(environment)
      return { right, place: { application, environment: name } }
    }),
  )
  return {
    kind: caller.kind === 'anyone' ? null : caller.kind,
    name: known ? caller.name : '',
    email: caller.email,
    person: caller.person,
    rights,
    expiresAt: caller.expiresAt,
    setUp: await context.store.people.hasAdministrator(),
  }
}

async function signIn(
  context: ApiContext,
  person: PersonRow,
  request: FastifyRequest,
  reply: FastifyReply,
): Promise<Session> {
  const session = await beginSession(context, person.id, request, reply)
  return sessionOf(context, {
    kind: 'person',
    name: person.name,
    identity: person.id,
    person: person.id,
    email: person.email,
    address: addressOf(request),
    rights: await rightsOf(context, person.id),
    session,
    token: null,
    expiresAt: session.expiresAt,
  })
}

async function beginSession(context: ApiContext, person: string, request: FastifyRequest, reply: FastifyReply) {
  const now = Date.now()
  const session = await context.store.sessions.begin(
    person,
    { address: addressOf(request), browser: request.headers['user-agent'] ?? '' },
    now,
  )
  await context.store.people.seen(person, now)
  setSessionCookie(request, reply, session.value)
  return session
}

/**
 * `known`: this address is counted by itself at this account. So nobody can keep a person out of where they were signed in
 * before, by guessing at their account from elsewhere.
 */
function beginGuess(
  context: ApiContext,
  account: string,
  request: FastifyRequest,
  reply: FastifyReply,
  known: boolean,
) {
  const [address, now] = [addressOf(request), Date.now()]
  const key = `${account.toLowerCase()}${known ? ` from ${address}` : ''}`
  const wait = context.guesses.wait(key, address, now)
  if (wait > 0) reply.raw.setHeader('retry-after', String(Math.ceil(wait / 1_000)))
  return context.guesses.begin(key, address, now)
}

/** Over the unix socket there is none. */
function addressOf(request: FastifyRequest): string {
  return (request.ip as string | undefined) ?? ''
}

function personOf(caller: Caller): string {
  if (caller.person === null)
    throw new DployError('forbidden', `${caller.name} is no person, and has no sessions`, {
      fix: 'Sign in with address and password',
    })
  return caller.person
}
