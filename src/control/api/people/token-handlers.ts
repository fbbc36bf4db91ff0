import { DployError } from '../../../protocol/errors.ts'
import { mustMay, visibleEnvironment } from '../call/access.ts'
import type { ApiContext } from '../context.ts'
import type { Handlers } from '../server.ts'

/** What the routes of API tokens do. */
export function tokenHandlers(context: ApiContext): Pick<Handlers, 'tokens' | 'createToken' | 'revokeToken'> {
  const { store } = context
  return {
    async tokens({ caller }) {
      if (caller.rights.may('administer', null)) return { tokens: await store.tokens.list() }
      return { tokens: caller.person === null ? [] : await store.tokens.list({ person: caller.person }) }
    },

    async createToken({ body, caller, tell }) {
      const environments =
        body.places &&
        (await Promise.all(
          body.places.map(({ application, environment }) =>
            visibleEnvironment(context, caller, application, environment),
          ),
        ))
      for (const environment of environments ?? [null])
        mustMay(caller, body.right, environment, environment === null ? 'everywhere' : 'in this environment')
      const now = Date.now()
      const wanted = body.days === null ? null : now + Math.round(body.days * 24 * 3_600_000)
      // What leaked once must not make others that outlive it.
      const limit = caller.kind === 'token' ? caller.expiresAt : null
      const expiresAt = limit === null ? wanted : Math.min(limit, wanted ?? limit)
      const { id, token } = await store.tokens.createApi(
        { note: body.note, right: body.right, environments, person: caller.person, expiresAt },
        now,
      )
      const [entry] = await store.tokens.list({ id })
      tell({ subject: id, after: { note: body.note, right: body.right, places: body.places, expiresAt } })
      return { token, entry: entry! }
    },

    async revokeToken({ params, caller, tell }) {
      const all = caller.rights.may('administer', null)
      const [entry] = await store.tokens.list({ id: params.token })
      if (!entry || (!all && (caller.person === null || entry.owner?.person !== caller.person)))
        throw new DployError('token.unknown', `There is no token ${params.token}`)
      // One that was made for one place, and is known to others, cannot end what its owner has elsewhere.
      if (caller.kind === 'token' && !all && entry.id !== caller.token) {
        for (const place of entry.places ?? [null])
          mustMay(
            caller,
            'administer',
            place && (await store.applications.environmentId(place.application, place.environment)),
            place === null ? 'everywhere' : 'in all environments of this token',
          )
      }
      tell({
        before: { note: entry.note, right: entry.right, places: entry.places, owner: entry.owner?.name ?? null },
        after: null,
      })
      await store.tokens.revoke(params.token, null)
      return {}
    },
  }
}
