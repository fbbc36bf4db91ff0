import type { EnvironmentConfig } from '../../../protocol/config/config.ts'

type Tagged = { tags: Readonly<Record<string, string>> }

/** Whether a server has a tag, written as in dploy.yml: `name=value`. */
export function hasTag({ tags }: Tagged, tag: string): boolean {
  const split = tag.indexOf('=')
  return tags[tag.slice(0, split)] === tag.slice(split + 1)
}

/** The two groups of an environment that is switched blue-green; null: it is not. */
export function groupsOf(config: EnvironmentConfig | undefined): readonly [string, string] | null {
  const [first, second] = config?.strategy.kind === 'blue-green' ? (config.strategy.groups ?? []) : []
  return first !== undefined && second !== undefined ? [first, second] : null
}

/** The group that serves; null where there are none, or nothing was switched blue-green yet. */
export function liveGroupOf(config: EnvironmentConfig | undefined, stored: string | null): string | null {
  return groupsOf(config)?.find((tag) => tag === stored) ?? null
}

/**
 * Whether a server is of the group that does not serve: it keeps the release before, gets no traffic, and is brought to
 * nothing until the next deployment.
 */
export function isIdle(server: Tagged, config: EnvironmentConfig | undefined, stored: string | null): boolean {
  const live = liveGroupOf(config, stored)
  const other = groupsOf(config)?.find((tag) => tag !== live)
  return live !== null && other !== undefined && hasTag(server, other) && !hasTag(server, live)
}
