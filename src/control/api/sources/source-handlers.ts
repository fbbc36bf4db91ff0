import type { ReleaseDifference } from '../../../protocol/api/source.ts'
import type { Environment } from '../../store/applications.ts'
import type { Release } from '../../store/releases.ts'
import type { ApiContext } from '../context.ts'
import type { Handlers } from '../server.ts'

/** What is asked before a deployment: what can be deployed, and what would change. */
export function sourceHandlers(context: ApiContext): Pick<Handlers, 'revisions' | 'changes' | 'compareReleases'> {
  const { store, artifacts } = context
  const environmentOf = (params: { application: string; environment: string }) =>
    store.applications.environment(params.application, params.environment)

  return {
    async revisions({ params, query, signal }) {
      const environment = await environmentOf(params)
      const branch = environment.config.environments[environment.name]?.branch ?? null
      return {
        branch,
        ...(await artifacts.history(
          environment.config,
          environment.base,
          { branch, search: query.search, limit: query.limit },
          signal,
        )),
      }
    },

    async changes({ params, query, signal }) {
      const environment = await environmentOf(params)
      const { config, base } = environment
      const from =
        environment.wantedRelease === null
          ? null
          : (await store.releases.get(environment.wantedRelease)).spec.revision.commit
      if (from === null) return { files: null }
      const to = await artifacts.resolve(config, base, query.revision, null, signal)
      return { files: to.commit === null ? null : await artifacts.files(config, base, from, to.commit, signal) }
    },

    async compareReleases({ params, signal }) {
      const environment = await environmentOf(params)
      const [from, to] = await Promise.all([
        store.releases.byNumber(environment.id, params.from),
        store.releases.byNumber(environment.id, params.to),
      ])
      return differenceOf(context, environment, from, to, signal)
    },
  }
}

async function differenceOf(
  context: ApiContext,
  environment: Environment,
  from: Release,
  to: Release,
  signal: AbortSignal,
): Promise<ReleaseDifference> {
  const { artifacts } = context
  const { config, base } = environment
  const a = from.spec.revision.commit
  const b = to.spec.revision.commit
  const both = a !== null && b !== null
  const [commits, commitsBack, files] = await Promise.all([
    both ? artifacts.between(config, base, a, b) : [],
    both ? artifacts.between(config, base, b, a) : [],
    both ? artifacts.files(config, base, a, b, signal).catch(() => null) : null,
  ])
  const named = (one: Release, secret: boolean) => (secret ? one.spec.secrets : one.spec.variables) ?? {}
  const variables = [false, true].flatMap((secret) =>
    changesOf(named(from, secret), named(to, secret)).map((change) => ({ ...change, secret })),
  )
  const service =
    JSON.stringify(from.spec.service) === JSON.stringify(to.spec.service)
      ? null
      : { from: from.spec.service, to: to.spec.service }
  return {
    from: from.number,
    to: to.number,
    sameArtifact: from.spec.artifact === to.spec.artifact,
    commits,
    commitsBack,
    files,
    variables,
    service,
  }
}

function changesOf(
  from: Record<string, string>,
  to: Record<string, string>,
): { name: string; change: 'added' | 'changed' | 'removed' }[] {
  const names = [...new Set([...Object.keys(from), ...Object.keys(to)])].sort()
  return names
    .filter((name) => from[name] !== to[name])
    .map((name) => ({ name, change: !(name in from) ? 'added' : !(name in to) ? 'removed' : 'changed' }))
}
