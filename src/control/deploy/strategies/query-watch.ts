import { setTimeout as delay } from 'node:timers/promises'
import type { EnvironmentConfig } from '../../../protocol/config/config.ts'
import { filled, instantQuery, NoAnswer } from '../../judging/prometheus.ts'
import { CountedQuery, ValuedQuery, type Pair, type QueryJudgement } from '../../judging/queries.ts'

type Prometheus = NonNullable<EnvironmentConfig['strategy']['prometheus']>
type Server = { name: string; address: string | null }

/** The chance that a release that is no worse is stopped for what queries count, over all of them and a whole deployment. */
const chance = 0.01

/** Asks Prometheus about the servers with the new release and those with the old one, at the same moments, until it is disposed of. */
export class QueryWatch implements AsyncDisposable {
  readonly #config: Prometheus
  readonly #sides: { new: readonly Server[]; old: readonly Server[] }
  readonly #stop = new AbortController()
  readonly #judges: (CountedQuery | ValuedQuery)[]
  /** Why a query had no answer the last time, by its name. */
  readonly #problems = new Map<string, string>()
  readonly #running: Promise<void>

  constructor(config: Prometheus, sides: { new: readonly Server[]; old: readonly Server[] }) {
    this.#config = config
    this.#sides = sides
    const counted = config.queries.filter(({ requests }) => requests !== undefined).length
    this.#judges = config.queries.map((query) =>
      query.requests === undefined
        ? new ValuedQuery(query, config.times)
        : new CountedQuery(query.name, chance / counted),
    )
    this.#running = this.#run()
  }

  /** Why the new release has failed; null: it has not. */
  get failure(): string | null {
    return this.#judges.map((judge) => judge.judge()).find(({ outcome }) => outcome === 'fail')?.reason ?? null
  }

  /** What the queries say together. `counts`: one of them saw enough requests to pass by. */
  judge(): QueryJudgement & { counts: boolean } {
    const all = this.#judges.map((judge, index) => {
      const problem = this.#problems.get(this.#config.queries[index]!.name)
      const said = judge.judge()
      return problem === undefined || said.outcome === 'fail'
        ? said
        : {
            outcome: 'inconclusive' as const,
            reason: `${this.#config.queries[index]!.name}: Prometheus does not answer: ${problem}`,
          }
    })
    const outcome =
      (['fail', 'inconclusive'] as const).find((one) => all.some((said) => said.outcome === one)) ?? 'pass'
    return {
      outcome,
      reason: all
        .filter((said) => said.outcome === outcome)
        .map(({ reason }) => reason)
        .join('; '),
      counts: all.some((said, index) => said.outcome === 'pass' && this.#judges[index] instanceof CountedQuery),
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#stop.abort()
    await this.#running
  }

  async #run(): Promise<void> {
    const { signal } = this.#stop
    while (!signal.aborted) {
      await Promise.all(this.#config.queries.map((_, index) => this.#look(index, signal)))
      await delay(this.#config.every, undefined, { signal }).catch(() => {})
    }
  }

  async #look(index: number, signal: AbortSignal): Promise<void> {
    const query = this.#config.queries[index]!
    const judge = this.#judges[index]!
    try {
      if (judge instanceof CountedQuery) {
        const [requests, failures] = await Promise.all([
          this.#pair(query.requests!, signal),
          this.#pair(query.failures!, signal),
        ])
        judge.add(requests, failures)
      } else {
        judge.add(await this.#pair(query.value!, signal))
      }
      this.#problems.delete(query.name)
    } catch (error) {
      if (signal.aborted) return
      this.#problems.set(query.name, error instanceof NoAnswer ? error.message : String(error))
    }
  }

  async #pair(query: string, signal: AbortSignal): Promise<Pair> {
    const [fresh, old] = await Promise.all(
      [this.#sides.new, this.#sides.old].map((servers) =>
        instantQuery(this.#config.url, filled(query, servers), signal),
      ),
    )
    return { new: fresh ?? null, old: old ?? null }
  }
}
