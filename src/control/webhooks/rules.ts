import picomatch from 'picomatch'
import type { Environment } from '../store/applications.ts'
import { isSource } from './repository.ts'
import type { Push } from './push.ts'

/** The part of a webhook that says where it may deploy to. */
export interface Limits {
  application: string | null
  environments: readonly string[] | null
}

/** What a push means for one environment. */
export interface Verdict {
  environment: Environment
  /** The branch that is deployed; null: nothing is. */
  branch: { name: string; commit: string } | null
  /** Why, or why not. */
  reason: string
}

/** What a push means for the environments of the applications whose source was pushed to. Those of others are left out. */
export function judge(push: Push, environments: readonly Environment[], limits: Limits): Verdict[] {
  return environments.flatMap((environment): Verdict[] => {
    if (limits.application !== null && environment.application !== limits.application) return []
    const source = isSource(environment.config.source.repository, environment.base, push.repository)
    // A webhook that was made for this application says what its path cannot.
    if (source === false || (source === null && limits.application === null)) return []
    const refuse = (reason: string): Verdict[] => [{ environment, branch: null, reason }]
    if (limits.environments !== null && !limits.environments.includes(environment.name))
      return refuse('the webhook is not for this environment')
    const config = environment.config.environments[environment.name]
    if (!config) return refuse('dploy.yml does not name it any more')
    const rules = config.on_push ?? true
    if (rules === false) return refuse('dploy.yml says on_push: false')
    const wanted = rules === true ? (config.branch ?? push.repository.defaultBranch) : null
    if (rules === true && wanted === null)
      return refuse('dploy.yml names no branch for it, and the service tells no default branch')
    const matches = rules === true ? (name: string) => name === wanted : picomatch(rules, { dot: true })
    const branch = push.branches.findLast(({ name }) => matches(name))
    if (!branch) return refuse(`it follows ${rules === true ? wanted! : rules.join(', ')}`)
    return [{ environment, branch, reason: `it follows ${rules === true ? wanted! : rules.join(', ')}` }]
  })
}
