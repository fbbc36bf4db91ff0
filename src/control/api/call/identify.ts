import type { FastifyReply, FastifyRequest } from 'fastify'
import { DployError } from '../../../protocol/errors.ts'
import { Rights } from '../../people/rights.ts'
import { anyone, type Caller } from './caller.ts'
import type { ApiContext } from '../context.ts'
import { sessionCookie, setSessionCookie } from './cookie.ts'
import { checkOrigin } from './origin.ts'

/**
 * Who sends a request over TCP: the owner of its token, or of its session's cookie, or anyone.
 * Throws `unauthorized` for a token that is none, and `request.cross_site`.
 */
export async function identify(context: ApiContext, request: FastifyRequest, reply: FastifyReply): Promise<Caller> {
  const { authorization } = request.headers
  if (authorization !== undefined) {
    checkOrigin(request, false)
    return ofToken(context, /^Bearer (\S{1,200})$/.exec(authorization)?.[1] ?? '', request.ip)
  }
  const cookie = sessionCookie(request)
  checkOrigin(request, cookie !== null)
  return (cookie === null ? null : await ofCookie(context, cookie, request, reply)) ?? anyone(request.ip)
}

/** What a person may do now. */
export async function rightsOf(context: ApiContext, person: string): Promise<Rights> {
  return Rights.ofGrants(await context.store.people.grantsOf(person))
}

/** What a caller may do by now. Throws `unauthorized` if their session or token is over. */
export async function rightsNow(context: ApiContext, caller: Caller): Promise<Rights> {
  const { store } = context
  if (caller.session !== null) {
    if (caller.person === null || !(await store.sessions.isOpen(caller.session.id, Date.now())))
      throw new DployError('unauthorized', 'The session is over')
    return rightsOf(context, caller.person)
  }
  const token = caller.token === null ? null : await store.tokens.findApiToken(caller.token, Date.now())
  if (!token) throw new DployError('unauthorized', 'The token is over')
  const rights = Rights.ofToken(token)
  return token.person === null ? rights : rights.and(await rightsOf(context, token.person))
}

async function ofToken(context: ApiContext, text: string, address: string): Promise<Caller> {
  const token = await context.store.tokens.useApiToken(text, Date.now())
  if (!token) throw new DployError('unauthorized', 'The token is unknown or has expired')
  const owner = token.person === null ? null : await context.store.people.find(token.person)
  const rights = Rights.ofToken(token)
  return {
    kind: 'token',
    name: owner ? `${owner.name} (token ${token.note})` : `token ${token.note}`,
    identity: owner?.id ?? token.id,
    person: owner?.id ?? null,
    email: owner?.email ?? null,
    address,
    // It never lets do more than its owner may at this moment.
    rights: token.person === null ? rights : rights.and(owner ? await rightsOf(context, owner.id) : Rights.none),
    session: null,
    token: token.id,
    expiresAt: token.expiresAt,
  }
}

async function ofCookie(
  context: ApiContext,
  cookie: string,
  request: FastifyRequest,
  reply: FastifyReply,
): Promise<Caller | null> {
  const now = Date.now()
  const session = await context.store.sessions.use(cookie, request.ip, now)
  const person = session && (await context.store.people.find(session.person))
  if (!session || !person) {
    setSessionCookie(request, reply, null)
    return null
  }
  if (session.rotated !== null) setSessionCookie(request, reply, session.rotated)
  return {
    kind: 'person',
    name: person.name,
    identity: person.id,
    person: person.id,
    email: person.email,
    address: request.ip,
    rights: await rightsOf(context, person.id),
    session: { id: session.id },
    token: null,
    expiresAt: session.expiresAt,
  }
}
