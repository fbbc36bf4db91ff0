import { configLines, settingsInForce } from '../../../protocol/config/lines.ts'
import type { NotifyEntry } from '../../../protocol/config/notify.ts'
import type { Environment } from '../../store/applications.ts'
import type { ApiContext } from '../context.ts'
import type { Handlers } from '../server.ts'

/** What an environment is set to. */
export function settingsHandlers({ store }: ApiContext): Pick<Handlers, 'settings'> {
  return {
    async settings({ params }) {
      const environment = await store.applications.environment(params.application, params.environment)
      const { config, name } = environment
      const { at, sent } = await store.applications.configFile(environment.id)
      const own = config.environments[name]
      const known = new Set((await store.secrets.list(environment.id)).map((secret) => secret.name))
      return {
        appliedAt: at,
        file: sent && { name: sent.file, by: sent.by, lines: configLines(sent.text) },
        settings: settingsInForce(config, name, sent?.text ?? null),
        variables: [
          ...Object.entries(config.variables)
            .filter(([variable]) => !Object.hasOwn(own?.variables ?? {}, variable))
            .map(([variable, value]) => ({ name: variable, value, from: 'application' as const })),
          ...Object.entries(own?.variables ?? {}).map(([variable, value]) => ({
            name: variable,
            value,
            from: 'environment' as const,
          })),
        ].sort((a, b) => a.name.localeCompare(b.name)),
        secrets: wantedSecrets(environment).map((secret) => ({ name: secret, set: known.has(secret) })),
        balancer: own?.balancer.kind ?? 'none',
      }
    },
  }
}

/** Those that releases get, and those with which people are told. */
function wantedSecrets({ config, name }: Environment): string[] {
  const told = ((config.notify as NotifyEntry[] | undefined) ?? []).filter(
    (entry) => entry.environments === undefined || entry.environments.includes(name),
  )
  return [
    ...new Set([
      ...config.secrets,
      ...(config.environments[name]?.secrets ?? []),
      ...told.flatMap((entry) => entry.secret ?? []),
    ]),
  ].sort()
}
