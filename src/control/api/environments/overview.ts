import type { EnvironmentSummary, Status } from '../../../protocol/api/environments.ts'
import type { HealthSummary, OverviewEnvironment } from '../../../protocol/api/overview.ts'
import type { Environment } from '../../store/applications.ts'
import type { ApiContext } from '../context.ts'
import type { SharedStatus } from './shared-status.ts'
import { summaryOf } from './status.ts'

/** So old may be what servers said. Milliseconds. */
const within = 3_500
/** Who takes longer is told of in the next answer; until then what was known before stands, if it is not older than this. Milliseconds. */
const patience = 800
const oldest = 30_000
/** Answers of git that are kept: what lies between two commits never changes. */
const mostKept = 5_000
const namedAstray = 10

type Ahead = (one: Environment, other: Environment) => Promise<{ ahead: number | null; behind: number | null }>

/** All environments at once, for a page that shows them all: one answer instead of two for each. */
export class Overview {
  readonly #context: ApiContext
  readonly #shared: SharedStatus
  readonly #ahead: Ahead
  readonly #healths = new Map<string, { at: number; health: HealthSummary }>()
  readonly #between = new Map<string, { ahead: number; behind: number } | null>()

  constructor(context: ApiContext, shared: SharedStatus, ahead: Ahead) {
    this.#context = context
    this.#shared = shared
    this.#ahead = ahead
  }

  async of(environments: readonly Environment[], signal: AbortSignal): Promise<OverviewEnvironment[]> {
    const late = new Promise<null>((resolve) => setTimeout(() => resolve(null), patience).unref())
    const summaries = await Promise.all(environments.map((one) => summaryOf(this.#context, one)))
    return Promise.all(
      environments.map(async (environment, index) => {
        const summary = summaries[index]!
        const [health, running, ahead] = await Promise.all([
          this.#health(environment, late, signal),
          summary.lock === null ? null : this.#context.store.summaries.one(summary.lock.deployment).catch(() => null),
          this.#aheadOf(environments, environment, summary, summaries, late),
        ])
        return { ...summary, health, running, ahead }
      }),
    )
  }

  async #health(environment: Environment, late: Promise<null>, signal: AbortSignal): Promise<HealthSummary | null> {
    const asked = this.#shared.of(environment, within, signal).then(
      (status) => {
        const health = healthOf(status)
        this.#healths.set(environment.id, { at: Date.now(), health })
        return health
      },
      () => null,
    )
    const known = () => {
      const last = this.#healths.get(environment.id)
      return last !== undefined && Date.now() - last.at <= oldest ? last.health : null
    }
    return (await Promise.race([asked, late])) ?? known()
  }

  async #aheadOf(
    environments: readonly Environment[],
    environment: Environment,
    summary: EnvironmentSummary,
    summaries: readonly EnvironmentSummary[],
    late: Promise<null>,
  ): Promise<OverviewEnvironment['ahead']> {
    const own = summary.wanted?.revision.commit ?? null
    if (own === null) return null
    const others = environments.flatMap((other, index) => {
      const commit = summaries[index]!.wanted?.revision.commit ?? null
      return other.application === environment.application &&
        other.id !== environment.id &&
        commit !== null &&
        commit !== own
        ? [{ other, commit }]
        : []
    })
    const of =
      others.find(({ other }) => other.name.startsWith('prod')) ?? (others.length === 1 ? others[0] : undefined)
    if (!of) return null
    const key = `${environment.id} ${own} ${of.commit}`
    const counts = this.#between.has(key)
      ? this.#between.get(key)!
      : await Promise.race([
          late,
          this.#ahead(environment, of.other).then(
            ({ ahead, behind }) => {
              const found = ahead === null || behind === null ? null : { ahead, behind }
              if (this.#between.size >= mostKept) this.#between.delete(this.#between.keys().next().value!)
              if (found) this.#between.set(key, found)
              return found
            },
            () => null,
          ),
        ])
    return counts && { of: of.other.name, ...counts }
  }
}

/** What a status says, in numbers. What was not said counts as unknown, never as well. */
export function healthOf({ servers, wanted, balancerProblem }: Status): HealthSummary {
  const counts = { servers: servers.length, absent: 0, sick: 0, drifted: 0, out: 0, unknown: 0 }
  const astray: HealthSummary['astray'] = []
  for (const { name, connected, problem, service, drifted, idle, traffic, release } of servers) {
    if (!connected) counts.absent++
    else if (problem !== null || service?.state === 'failed' || service?.state === 'stopped') counts.sick++
    else if (drifted) counts.drifted++
    else if (!idle && traffic !== null && traffic.admission !== 'ready') counts.out++
    else if (service === null && wanted !== null) counts.unknown++
    if (connected && drifted && astray.length < namedAstray) astray.push({ name, release })
  }
  return { ...counts, astray, balancer: balancerProblem === null }
}
