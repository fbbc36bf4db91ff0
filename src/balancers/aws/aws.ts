import type { BalancerConfig } from '../../protocol/config/config.ts'
import { formatDuration } from '../../protocol/duration.ts'
import { DployError } from '../../protocol/errors.ts'
import type {
  Balancer,
  BalancerDriver,
  DrainOptions,
  FactsOf,
  Pace,
  RegisterOptions,
  ServerTraffic,
} from '../contract.ts'
import { adviceOf } from './advice.ts'
import { Api } from './api.ts'
import { Bundle } from './bundle.ts'
import { ClassicBalancer } from './classic-balancer.ts'
import { isSame, parseTarget, titleOf, type Pool, type PoolSettings, type SeenTarget, type Target } from './pool.ts'
import { TargetGroup } from './target-group.ts'
import { PoolWatch } from './watch.ts'

type Config = Extract<BalancerConfig, { kind: 'aws' }>

/** A pool with what is going on in it. */
interface Member {
  pool: Pool
  watch: PoolWatch
  register: Bundle
  deregister: Bundle
}

/**
 * Target groups and classic balancers of AWS. A drained server is deregistered, and is drained when AWS no longer shows
 * it as draining: AWS tells nobody how many requests are in flight, and an Application Load Balancer shows a target as
 * draining for all of its deregistration delay, also with nothing in flight ("Deregistration delay" in its user guide).
 *
 * AWS forgets no deregistration, so there is nothing to assert again.
 */
class Aws implements Balancer {
  readonly kind = 'aws'
  readonly capabilities = { countsInFlight: false, counts: false, drains: true, reloads: false, absentIsOut: true }
  readonly remedies: Balancer['remedies'] = {
    seldomChecked: {
      text: 'Check more often, so that a healthy target is seen sooner',
      where: 'balancer',
      lines: [
        'aws elbv2 modify-target-group --target-group-arn ARN --health-check-interval-seconds 5 --healthy-threshold-count 2',
      ],
    },
  }
  readonly #config: Config
  readonly #factsOf: FactsOf
  readonly #api: Api
  readonly #members: Member[]
  readonly #closed = new AbortController()
  #checked: { title: string; settings: PoolSettings }[] = []

  constructor(config: Config, factsOf: FactsOf) {
    this.#config = config
    this.#factsOf = factsOf
    const { signal } = this.#closed
    this.#api = new Api(config, () => {
      for (const { watch } of this.#members) watch.slowDown()
    })
    const pools: Pool[] = [
      ...(config.target_groups ?? []).map((arn) => new TargetGroup(arn, this.#api)),
      ...(config.classic ?? []).map((name) => new ClassicBalancer(name, this.#api)),
    ]
    this.#members = pools.map((pool) => ({
      pool,
      watch: new PoolWatch(pool, signal),
      register: new Bundle((targets) => pool.register(targets, signal)),
      deregister: new Bundle((targets) => pool.deregister(targets, signal)),
    }))
  }

  async check(servers: readonly string[], signal: AbortSignal): Promise<void> {
    const named = await this.#named(servers, signal)
    checkDistinct(named)
    this.#checked = await Promise.all(
      this.#members.map(async ({ pool }) => {
        const targets = await pool.resolve([...named.values()].flat(), signal)
        return { title: pool.title, settings: await pool.check(targets, signal) }
      }),
    )
  }

  advice(pace: Pace): string[] {
    return adviceOf(this.#checked, pace)
  }

  async read(servers: readonly string[], signal: AbortSignal): Promise<ServerTraffic[]> {
    const named = await this.#named(servers, signal)
    const looks = await Promise.all(
      this.#members.map(async ({ pool }) => {
        const [seen, targets] = await Promise.all([
          pool.look(signal),
          Promise.all(servers.map((server) => pool.resolve(named.get(server)!, signal))),
        ])
        return targets.map((own) => own.map((target) => seen.find((one) => isSame(one, target)) ?? null))
      }),
    )
    return servers.map((server, index) =>
      merge(
        server,
        looks.flatMap((look) => look[index]!),
      ),
    )
  }

  async drain(server: string, options: DrainOptions): Promise<{ inFlight: number | null }> {
    const { signal } = options
    const all = await this.#targetsIn(server, signal)
    const end = performance.now() + options.timeout
    await abortable(Promise.all(all.map(({ member, targets }) => member.deregister.add(targets))), signal)
    if (options.timeout <= 0) return { inFlight: null }
    options.onProgress?.(null)
    const gone = (targets: readonly Target[]) => (seen: readonly SeenTarget[]) =>
      targets.every((target) => !seen.some((one) => isSame(one, target) && one.state !== 'unused'))
    const ended = await Promise.all(
      all.map(({ member, targets }) =>
        member.watch.wait(gone(targets), { timeout: Math.max(0, end - performance.now()), signal }),
      ),
    )
    if (!ended.every(({ came }) => came)) return { inFlight: null }
    options.onProgress?.(0)
    return { inFlight: 0 }
  }

  async register(server: string, options: RegisterOptions): Promise<void> {
    const { signal } = options
    const all = await this.#targetsIn(server, signal)
    const end = performance.now() + options.timeout
    await abortable(Promise.all(all.map(({ member, targets }) => member.register.add(targets))), signal)
    await Promise.all(
      all.map(async ({ member, targets }) => {
        const healthy = (seen: readonly SeenTarget[], target: Target) =>
          seen.some((one) => isSame(one, target) && one.state === 'healthy')
        const { came, seen } = await member.watch.wait((now) => targets.every((target) => healthy(now, target)), {
          timeout: Math.max(0, end - performance.now()),
          signal,
        })
        if (came) return
        const waiting = targets
          .filter((target) => !healthy(seen ?? [], target))
          .map((target) => `${titleOf(target)} is ${seen?.find((one) => isSame(one, target))?.text ?? 'not shown'}`)
        throw new DployError(
          'balancer.not_up',
          `The ${member.pool.title} does not see ${server} as healthy after ${formatDuration(options.timeout)}: ${waiting.join(', ')}`,
          {
            where: server,
            fix: `Check the health check of the ${member.pool.title} against the server, and timeouts.register in dploy.yml against its interval`,
          },
        )
      }),
    )
  }

  async counters(): Promise<null> {
    return null
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#closed.abort(new DployError('connection.closed', 'The balancer is no longer used'))
    await this.#api.close()
  }

  async #targetsIn(server: string, signal: AbortSignal): Promise<{ member: Member; targets: Target[] }[]> {
    const named = await this.#named([server], signal)
    return Promise.all(
      this.#members.map(async (member) => ({
        member,
        targets: await abortable(member.pool.resolve(named.get(server)!, this.#closed.signal), signal),
      })),
    )
  }

  /** What AWS calls each server: as dploy.yml says, else the instance id that its agent read. */
  async #named(servers: readonly string[], signal: AbortSignal): Promise<Map<string, Target[]>> {
    signal.throwIfAborted()
    const named = new Map<string, Target[]>()
    for (const server of servers) {
      const written = Object.hasOwn(this.#config.targets, server) ? this.#config.targets[server]! : null
      const id = written ?? (await this.#factsOf(server))?.instanceId
      if (id === undefined) {
        throw new DployError(
          'balancer.unknown_server',
          `It is not known which instance ${server} is: dploy.yml names none, and its agent has read none from the instance metadata`,
          {
            where: server,
            fix: `Write it into dploy.yml: balancer.targets: {${server}: i-…}; or let the agent reach the instance metadata, and restart it`,
          },
        )
      }
      named.set(server, (typeof id === 'string' ? [id] : id).map(parseTarget))
    }
    return named
  }
}

export const awsDriver: BalancerDriver<'aws'> = { kind: 'aws', open: (config, factsOf) => new Aws(config, factsOf) }

/** The worst that any pool says of any target of a server counts. Null: not registered there. */
function merge(server: string, seen: readonly (SeenTarget | null)[]): ServerTraffic {
  const states = seen.map((one) => (one === null || one.text.includes('Target.NotRegistered') ? 'gone' : one.state))
  const out = states.filter((state) => state === 'gone').length
  const up = (state: (typeof states)[number]) => state === 'healthy' || state === 'draining'
  const worst =
    seen[
      Math.max(
        0,
        states.findIndex((state) => !up(state)),
      )
    ]
  return {
    server,
    admission: out === states.length ? 'out' : out > 0 || states.includes('draining') ? 'draining' : 'ready',
    up: states.every(up),
    inFlight: 0,
    check: worst?.text ?? 'not registered',
  }
}

/** Two servers under one target would be drained and registered by each other. */
function checkDistinct(named: ReadonlyMap<string, readonly Target[]>): void {
  const owners = new Map<string, string>()
  for (const [server, targets] of named) {
    for (const target of targets) {
      const owner = owners.get(titleOf(target))
      if (owner !== undefined && owner !== server)
        throw new DployError(
          'balancer.unknown_server',
          `${owner} and ${server} are the same target, ${titleOf(target)}`,
          { where: server, fix: 'Give each server its own in balancer.targets in dploy.yml' },
        )
      owners.set(titleOf(target), server)
    }
  }
}

function abortable<T>(work: Promise<T>, signal: AbortSignal): Promise<T> {
  signal.throwIfAborted()
  return new Promise((resolve, reject) => {
    const abort = () => reject(signal.reason)
    signal.addEventListener('abort', abort, { once: true })
    void work.then(resolve, reject).finally(() => signal.removeEventListener('abort', abort))
  })
}
