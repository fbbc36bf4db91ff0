import type { FastifyRequest } from 'fastify'
import { subjectOf, type Right } from '../../../protocol/api/access.ts'
import { routes } from '../../../protocol/api/contract.ts'
import type { Route } from '../../../protocol/api/route.ts'
import { DployError } from '../../../protocol/errors.ts'
import type { Caller } from './caller.ts'
import type { ApiContext } from '../context.ts'

/**
 * The one place that says who may call what. Every request passes here before its body is read; what a route does not
 * declare is refused. Somebody who may not even read a thing is told that it is not there.
 *
 * Throws `unauthorized`, `forbidden`, and what the subject is missing as (`environment.unknown`, `not_found`, `server.unknown`).
 */
export async function admit(context: ApiContext, route: Route, caller: Caller, request: FastifyRequest): Promise<void> {
  const { access } = route
  if (access === 'open' || (context.metricsOpen && route === routes.metrics)) return
  if (caller.kind === 'anyone') throw new DployError('unauthorized', 'Nobody is signed in')
  if (access === 'known') return
  if (access === 'own') {
    if (caller.kind === 'token' && !caller.rights.maySomewhere('administer'))
      throw new DployError('forbidden', `${caller.name} may not act for its owner`, { fix: 'Sign in, and do it there' })
    return
  }
  if (access !== 'read' && access !== 'deploy' && access !== 'administer')
    throw new DployError('forbidden', `${route.method} ${route.path} says nobody who may call it`)
  const { rights } = caller
  if (rights.may(access, null)) return
  const subject = subjectOf(route.path)
  if (subject === 'everything') {
    if (route.reach === 'some' ? rights.maySomewhere(access) : false) return
    throw forbidden(caller, access, 'everywhere')
  }
  const environments = await environmentsOf(context, subject, request.params as Record<string, string>)
  const allowed = environments.map((environment) => rights.may(access, environment))
  // A server stands in several environments: who may read one of them sees it, who changes it must have the right in all.
  if (environments.length > 0 && (access === 'read' ? allowed.includes(true) : !allowed.includes(false))) return
  if (environments.some((environment) => rights.may('read', environment)))
    throw forbidden(caller, access, subject === 'server' ? 'in all environments of this server' : 'in this environment')
  throw notThere(subject, request.params as Record<string, string>)
}

/** For handlers of routes that declare `reach: 'some'`. Throws `forbidden`. */
export function mustMay(caller: Caller, right: Right, environment: string | null, where: string): void {
  if (!caller.rights.may(right, environment)) throw forbidden(caller, right, where)
}

/** The id of an environment that a query names. Throws the same for one that is not there and one that may not be read. */
export async function visibleEnvironment(
  context: ApiContext,
  caller: Caller,
  application: string,
  environment: string,
): Promise<string> {
  const id = await context.store.applications.environmentId(application, environment)
  if (id === null || !caller.rights.may('read', id)) throw notThere('environment', { application, environment })
  return id
}

/** Ids of the environments that a path's subject belongs to; none: it does not exist. */
async function environmentsOf(
  context: ApiContext,
  subject: 'environment' | 'deployment' | 'run' | 'server',
  params: Record<string, string>,
): Promise<string[]> {
  const { store } = context
  switch (subject) {
    case 'environment': {
      const id = await store.applications.environmentId(params.application ?? '', params.environment ?? '')
      return id === null ? [] : [id]
    }
    case 'deployment': {
      const number = Number(params.number)
      const id = Number.isSafeInteger(number) ? await store.deployments.environmentOf(number) : null
      return id === null ? [] : [id]
    }
    case 'run': {
      const id = await store.runs.environmentOf(params.run ?? '')
      return id === null ? [] : [id]
    }
    case 'server': {
      const server = await store.servers.named(params.server ?? '')
      return server ? (await store.servers.memberships(server.id)).map(({ environment }) => environment) : []
    }
    default:
      subject satisfies never
      return []
  }
}

function forbidden(caller: Caller, right: Right, where: string): DployError {
  return new DployError('forbidden', `${caller.name} may not ${right} ${where}`)
}

function notThere(
  subject: 'environment' | 'deployment' | 'run' | 'server',
  params: Record<string, string>,
): DployError {
  const shown = (text: string | undefined) => (text ?? '').slice(0, 200)
  switch (subject) {
    case 'environment':
      return new DployError(
        'environment.unknown',
        `There is no environment ${shown(params.application)}/${shown(params.environment)}`,
      )
    case 'deployment':
      return new DployError('not_found', `There is no deployment ${shown(params.number)}`)
    case 'run':
      return new DployError('not_found', `There is no run ${shown(params.run)}`)
    case 'server':
      return new DployError('server.unknown', `There is no server ${shown(params.server)}`)
    default:
      subject satisfies never
      return new DployError('not_found')
  }
}
