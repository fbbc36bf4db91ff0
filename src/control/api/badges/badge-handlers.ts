import { DployError } from '../../../protocol/errors.ts'
import { badgeSvg } from '../../notify/badge.ts'
import type { Environment } from '../../store/applications.ts'
import { sameText } from '../../webhooks/signature.ts'
import type { ApiContext } from '../context.ts'
import { originOf } from '../call/origin-of.ts'
import type { Handlers } from '../server.ts'

/** For how long others may show a badge without asking anew. Seconds. */
const freshFor = 30

/** What the routes of status badges do. */
export function badgeHandlers(context: ApiContext): Pick<Handlers, 'badge' | 'badgeAddress'> {
  const { store } = context
  return {
    async badge({ params, query, reply }) {
      const name = params.file.slice(0, -'.svg'.length)
      const id = await store.applications.environmentId(params.application, name)
      const environment = id === null ? null : await store.applications.environmentById(id)
      // One that may not be seen is not there.
      if (!environment || !mayShow(context, environment, query.token))
        throw new DployError('not_found', `There is no badge ${params.application}/${name}`)
      const [last] = await store.deployments.latest(environment.id)
      const svg = badgeSvg({
        environment: `${environment.application} ${environment.name}`,
        release:
          environment.wantedRelease === null ? null : (await store.releases.get(environment.wantedRelease)).number,
        last: last ?? null,
      })
      reply
        .header('content-type', 'image/svg+xml; charset=utf-8')
        .header('cache-control', `${shownOf(environment) === 'public' ? 'public' : 'private'}, max-age=${freshFor}`)
        .header('cross-origin-resource-policy', 'cross-origin')
        .serializer((text: string) => text)
      return svg
    },

    async badgeAddress({ params, request }) {
      const environment = await store.applications.environment(params.application, params.environment)
      const shown = shownOf(environment)
      if (shown === 'none') return { shown, url: null }
      const path = `/badge/${encodeURIComponent(environment.application)}/${encodeURIComponent(environment.name)}.svg`
      return {
        shown,
        url: `${originOf(context, request)}${path}${shown === 'token' ? `?token=${context.badgeToken(environment.id)}` : ''}`,
      }
    },
  }
}

function shownOf(environment: Environment): 'none' | 'token' | 'public' {
  // A dploy.yml that was stored before there were badges says nothing.
  return environment.config.environments[environment.name]?.badge ?? 'none'
}

function mayShow(context: ApiContext, environment: Environment, token: string | undefined): boolean {
  const shown = shownOf(environment)
  return (
    shown === 'public' ||
    (shown === 'token' && token !== undefined && sameText(token, context.badgeToken(environment.id)))
  )
}
