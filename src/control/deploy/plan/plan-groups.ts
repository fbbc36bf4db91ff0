import type { Plan } from '../../../protocol/deployment.ts'
import { DployError } from '../../../protocol/errors.ts'
import { hasTag } from '../strategies/groups.ts'
import type { Desired, ObservedServer } from './plan.ts'

/**
 * Blue-green over two groups of servers: the release goes to the group that does not serve, and once all of it is healthy
 * the traffic changes over. Servers that run the release already, as those of the group before do in a rollback, only get
 * the traffic. Pure.
 */
export function planGroups(desired: Desired, observed: ReadonlyMap<string, ObservedServer | null>): Plan {
  const { strategy, release, kind } = desired
  const [first, second] = strategy.groups as [string, string]
  const of = (tag: string) => desired.servers.filter((server) => hasTag({ tags: desired.tags?.get(server) ?? {} }, tag))
  const runs = (server: string) => {
    const seen = observed.get(server)
    return seen != null && release !== null && seen.current === release && seen.running
  }
  const stored = [first, second].find((tag) => tag === desired.live) ?? null
  const nothingRuns = desired.servers.every((server) => (observed.get(server)?.current ?? null) === null)
  // An environment that was switched otherwise until now serves from both: the first group goes on alone.
  const live = stored ?? (nothingRuns ? null : first)
  const other = live === first ? second : first
  const next = live !== null && of(live).length > 0 && of(live).every(runs) ? live : other
  const members = of(next)
  const enter = members.filter((server) => observed.get(server))
  const leave = of(next === first ? second : first)
  const toSwitch = enter.filter((server) => !runs(server))
  const person = kind === 'deploy' && strategy.pause !== 'never'
  return {
    kind,
    application: desired.application,
    environment: desired.environment,
    release,
    from: desired.from,
    stage: toSwitch.map((server) => {
      const seen = observed.get(server)!
      return { server, from: seen.current, already: release !== null && seen.releases.includes(release) }
    }),
    releaseCommand:
      kind === 'deploy' && desired.releaseCommand !== null && toSwitch[0] !== undefined
        ? { server: toSwitch[0], command: desired.releaseCommand }
        : null,
    batches: toSwitch.length > 0 ? [toSwitch] : [],
    unchanged: enter.filter(runs),
    unreachable: members.filter((server) => !observed.get(server)),
    warm: false,
    gates:
      next !== live && (person || (kind === 'deploy' && strategy.bake_group > 0))
        ? [{ before: 1, after: 'group', bake: strategy.bake_group, person }]
        : [],
    canary: null,
    groups: { live: stored, next, enter, leave },
    perServer: desired.drains ? ['drain', 'activate'] : ['activate'],
    bakeBatch: 0,
    bake: desired.hasService ? strategy.bake : 0,
    warnings:
      live !== null && next !== live && members.length < leave.length
        ? [
            `${next} has ${members.length} servers and ${live} has ${leave.length}: after the switch fewer carry the traffic`,
          ]
        : [],
  }
}

/** What stands in the way of two groups; null: nothing. */
export function groupsObstacle(desired: Desired): DployError | null {
  const groups = desired.strategy.groups ?? []
  if (!desired.drains)
    return new DployError(
      'environment.groups',
      'Blue-green needs a balancer that takes servers out of traffic, and this environment has none',
    )
  const wrong = desired.servers.filter(
    (server) => groups.filter((tag) => hasTag({ tags: desired.tags?.get(server) ?? {} }, tag)).length !== 1,
  )
  if (wrong.length > 0)
    return new DployError(
      'environment.groups',
      `Every server has to be in one of the groups ${groups.join(' and ')}; ${wrong.join(', ')} ${wrong.length === 1 ? 'is' : 'are'} not, or in both`,
      { where: wrong.join(', ') },
    )
  const empty = groups.find(
    (tag) => !desired.servers.some((server) => hasTag({ tags: desired.tags?.get(server) ?? {} }, tag)),
  )
  return empty === undefined ? null : new DployError('environment.groups', `No server is in the group ${empty}`)
}
