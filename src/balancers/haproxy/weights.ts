import { DployError } from '../../protocol/errors.ts'
import type { TrafficSplit } from '../contract.ts'
import type { RuntimeApi } from './runtime-api.ts'
import { parseStatistics } from './statistics.ts'

/** HAProxy knows no larger weight. */
const largest = 256
/** Commands in one connection: HAProxy reads them into a buffer of 16 KB. */
const atOnce = 100

/** A server of one backend. */
export interface Weighted {
  name: string
  /** The weight in haproxy.cfg; 0: it gets nothing by itself. */
  initial: number
  /** Whether it takes its part of the requests now: it is no backup, and nobody has taken it out. */
  takes: boolean
}

/**
 * Weights with which `split.servers` get `split.share` of a backend's requests together; among themselves, and among the
 * others, servers keep the proportions of haproxy.cfg. As large as HAProxy allows, since weights are whole. Empty where
 * one of the two sides takes nothing: then there is nothing to split.
 */
export function weightsFor(servers: readonly Weighted[], split: TrafficSplit): Map<string, number> {
  const changed = servers.filter(({ initial }) => initial > 0)
  const [ahead, rest] = [true, false].map((side) =>
    changed.filter(({ name }) => split.servers.includes(name) === side),
  ) as [Weighted[], Weighted[]]
  const sum = (side: readonly Weighted[]) => side.reduce((total, { initial }) => total + initial, 0)
  const others = sum(rest.filter(({ takes }) => takes))
  if (ahead.length === 0 || others === 0) return new Map()
  const ratio = (split.share * others) / ((1 - split.share) * sum(ahead))
  const scale =
    largest / Math.max(...rest.map(({ initial }) => initial), ...ahead.map(({ initial }) => initial * ratio))
  const weight = (value: number) => Math.max(1, Math.round(value))
  return new Map([
    ...ahead.map(({ name, initial }) => [name, weight(initial * ratio * scale)] as const),
    ...rest.map(({ name, initial }) => [name, weight(initial * scale)] as const),
  ])
}

/**
 * The weights of servers while a part of the traffic goes to some of them.
 *
 * Weights are absolute: "5%" of the usual weight 1 is 0 to HAProxy, which counts in whole numbers. So all servers of a
 * backend get one, and "100%" gives each that of haproxy.cfg back, whoever changed it and whenever.
 */
export class ServerWeights {
  readonly #apis: readonly RuntimeApi[]
  readonly #backends: readonly string[]
  readonly #closed: AbortSignal
  /** Null: nothing has to be held. */
  wanted: TrafficSplit | null = null

  constructor(apis: readonly RuntimeApi[], backends: readonly string[], closed: AbortSignal) {
    this.#apis = apis
    this.#backends = backends
    this.#closed = closed
  }

  async set(split: TrafficSplit | null): Promise<void> {
    this.wanted = split
    await this.#apply(split)
  }

  /** Sets the weights again that a reload has undone. */
  async assert(): Promise<void> {
    if (this.wanted !== null) await this.#apply(this.wanted)
  }

  async #apply(split: TrafficSplit | null): Promise<void> {
    await Promise.all(
      this.#apis.map(async (api) => {
        const [states, rows] = await Promise.all([
          api.ask('show servers state', this.#closed),
          api.ask('show stat -1 4 -1', this.#closed),
        ])
        const spare = new Set(
          parseStatistics(rows)
            .filter(({ bck }) => bck === '1')
            .map(({ pxname, svname }) => `${pxname}/${svname}`),
        )
        const commands = this.#backends.flatMap((backend) => {
          const servers = statesOf(states).filter((one) => one.backend === backend)
          const weights =
            split === null
              ? null
              : weightsFor(
                  servers.map((one) => ({ ...one, takes: one.takes && !spare.has(`${backend}/${one.name}`) })),
                  split,
                )
          return servers.flatMap(({ name, weight, initial }) => {
            const wanted = weights === null ? initial : (weights.get(name) ?? initial)
            return weight === wanted
              ? []
              : [`set server ${backend}/${name} weight ${wanted === initial ? '100%' : wanted}`]
          })
        })
        for (let start = 0; start < commands.length; start += atOnce)
          await this.#change(api, commands.slice(start, start + atOnce))
      }),
    )
  }

  async #change(api: RuntimeApi, commands: readonly string[]): Promise<void> {
    const answer = (await api.ask(commands.join(';'), this.#closed)).trim()
    if (/static LB algorithm/i.test(answer)) {
      throw new DployError(
        'balancer.cannot_split',
        `HAProxy at ${api.address} cannot change weights where "balance" is static-rr or a hash without "hash-type consistent"`,
        {
          where: api.address,
          fix: 'Use "balance roundrobin" or "leastconn" in haproxy.cfg, or leave strategy.traffic out',
        },
      )
    }
    if (answer !== '')
      throw new DployError(
        'balancer.refused',
        `HAProxy at ${api.address} does not change weights: ${answer.split('\n')[0]}`,
        { where: api.address },
      )
  }
}

/** `show servers state`: a line with its format's number, one with names behind `#`, then a server a line. */
export function statesOf(answer: string): (Weighted & { backend: string; weight: number })[] {
  const lines = answer.split('\n').filter((line) => line.trim() !== '')
  const header =
    lines
      .find((line) => line.startsWith('#'))
      ?.slice(1)
      .trim()
      .split(/\s+/) ?? []
  const at = (name: string) => header.indexOf(name)
  return lines
    .map((line) => line.trim().split(/\s+/))
    .filter((cells) => cells.length === header.length && cells[0] !== '#')
    .map((cells) => ({
      backend: cells[at('be_name')]!,
      name: cells[at('srv_name')]!,
      weight: Number(cells[at('srv_uweight')]),
      initial: Number(cells[at('srv_iweight')]),
      takes: cells[at('srv_admin_state')] === '0',
    }))
}
