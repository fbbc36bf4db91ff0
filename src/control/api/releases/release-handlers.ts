import { numberCursor, paged } from '../call/cursor.ts'
import type { ApiContext } from '../context.ts'
import { environmentIn } from '../environments/environment-in.ts'
import type { Handlers } from '../server.ts'
import { releaseReadiness } from './readiness.ts'

/** Releases of an environment. */
export function releaseHandlers(context: ApiContext): Pick<Handlers, 'releases' | 'releaseReadiness'> {
  const { store } = context
  const environmentOf = environmentIn(context)

  return {
    async releases({ params, query }) {
      const environment = await environmentOf(params)
      const { page, next } = paged(
        await store.releases.list(environment.id, query.limit + 1, numberCursor(query.cursor)),
        query.limit,
        ({ number }) => number,
      )
      const fates = await store.summaries.fates(page.map(({ id }) => id))
      return {
        next,
        releases: page.map((release) => ({
          number: release.number,
          artifact: release.spec.artifact,
          revision: release.spec.revision,
          createdAt: release.createdAt,
          wanted: release.id === environment.wantedRelease,
          served: fates.get(release.id)?.served ?? false,
          last: fates.get(release.id)?.last ?? null,
        })),
      }
    },

    releaseReadiness: async ({ params, query, signal }) =>
      releaseReadiness(context, await environmentOf(params), query.limit, signal),
  }
}
