import { distance } from 'fastest-levenshtein'
import type { BalancerConfig } from '../../protocol/config/config.ts'
import { formatDuration } from '../../protocol/duration.ts'
import { DployError } from '../../protocol/errors.ts'
import type {
  Balancer,
  BalancerDriver,
  DrainOptions,
  RegisterOptions,
  ServerCounters,
  ServerTraffic,
  TrafficCounters,
  TrafficSplit,
} from '../contract.ts'
import { serversWithAgents } from './agent-checks.ts'
import { HaproxyLog } from './log.ts'
import { ServerPorts } from './ports.ts'
import { RuntimeApi } from './runtime-api.ts'
import { parseStatistics, type StatRow } from './statistics.ts'
import { ServerWeights } from './weights.ts'

/** Between two looks while somebody waits: at first, and later. Milliseconds. */
const lookEvery = 5
const lookLater = 40
const eager = 300
/** How often drains are held against what HAProxy says, so that a reload does not undo them. Milliseconds. */
const assertEvery = 200

/** Type 6: backends (2) and servers (4). */
const showServers = 'show stat -1 6 -1'

type Wanted = 'drain' | 'maint'

interface Command {
  text: string
  /** BACKEND/SERVER, where it is for those alone that are asked about at an agent. */
  agentOf: string | null
  done: PromiseWithResolvers<void>
}

/** What all HAProxies say at one moment. */
interface Look {
  servers: ServerTraffic[]
  /** Sessions that each server was given since HAProxy started, over all addresses and backends. */
  sessions: ReadonlyMap<string, number>
  /** Their process ids: a reload changes them. */
  processes: string
}

/**
 * HAProxy through its Runtime API.
 *
 * A drained server goes to `maint` once nothing is in flight, or as soon as persistence (a cookie, a stick table) leads
 * new sessions to it all the same. HAProxy then does not check it, and does not call it down while it restarts. HAProxy has no command that checks a server now; leaving `maint` counts it as up (health = rise) and
 * the next regular check confirms or takes it out (seen with 2.6; `srv_update_status` in its source). The service was
 * found healthy by its agent just before, so registering does not wait for that check: at `inter 2s` it would cost a
 * second a batch. A server that HAProxy calls down all the same is waited for until it is up.
 */
class Haproxy implements Balancer {
  readonly kind = 'haproxy'
  readonly capabilities = { countsInFlight: true, counts: true, drains: true, reloads: false }
  readonly remedies: Balancer['remedies'] = {
    restarted: {
      text: 'Let HAProxy hand its sockets over when it is reloaded, and reload it outside of deployments',
      where: 'balancer',
      lines: ['stats socket /run/haproxy/admin.sock mode 600 level admin expose-fd listeners'],
    },
    seldomChecked: {
      text: 'Check more often, so that a healthy server is seen sooner',
      where: 'balancer',
      lines: ['default-server inter 1s fastinter 200ms downinter 200ms rise 1'],
    },
  }
  readonly #apis: RuntimeApi[]
  readonly #backends: string[]
  /** Servers that are kept out of traffic, and in which state. */
  readonly #wanted = new Map<string, Wanted>()
  /** Servers that were put back. A reload that loads a saved state may take them out again. */
  readonly #ready = new Set<string>()
  /** Process ids at the last assertion. */
  #processes: string | null = null
  #looking: Promise<Look> | null = null
  #commands: Command[] = []
  #agents: Promise<ReadonlyMap<RuntimeApi, ReadonlySet<string>>> | null = null
  #sending = false
  #asserting: NodeJS.Timeout | null = null
  readonly #closed = new AbortController()
  readonly #ports: ServerPorts
  readonly #weights: ServerWeights
  readonly #log: HaproxyLog | null
  #logProblem: string | null = null
  readonly follow?: Balancer['follow']

  constructor(config: Extract<BalancerConfig, { kind: 'haproxy' }>) {
    this.#apis = config.address.map((address) => new RuntimeApi(address))
    this.#backends = config.backend
    this.#ports = new ServerPorts(this.#apis, this.#backends, this.#closed.signal)
    this.#weights = new ServerWeights(this.#apis, this.#backends, this.#closed.signal)
    const log = config.log === undefined ? null : new HaproxyLog(config.log, config.backend)
    this.#log = log
    if (log !== null) this.follow = (onRequest) => log.follow(onRequest)
  }

  async check(servers: readonly string[], signal: AbortSignal): Promise<void> {
    this.#logProblem = (await this.#log?.problem()) ?? null
    await Promise.all(
      this.#apis.map(async (api) => {
        const rows = await this.#rows(api, signal)
        const backends = [...new Set(rows.map((row) => row.pxname!))]
        for (const backend of this.#backends) {
          if (!backends.includes(backend))
            throw new DployError(
              'balancer.unknown_backend',
              `HAProxy at ${api.address} has no backend ${backend}; it has ${backends.join(', ') || 'none'}${nearest(backend, backends)}`,
              { where: api.address },
            )
          const names = rows.filter((row) => row.pxname === backend && row.type === '2').map((row) => row.svname!)
          for (const server of servers) {
            if (!names.includes(server))
              throw new DployError(
                'balancer.unknown_server',
                `The backend ${backend} of HAProxy at ${api.address} has no server ${server}; it has ${names.join(', ') || 'none'}${nearest(server, names)}`,
                { where: api.address },
              )
          }
        }
        const [backend, server] = [this.#backends[0]!, servers[0]]
        if (server === undefined) return
        // Reading a weight changes nothing and needs the level that setting a state needs.
        const answer = await api.ask(`get weight ${backend}/${server}`, signal)
        if (/permission denied/i.test(answer)) throw refused(api, answer)
        const level = await api.ask('show cli level', signal)
        if (/^(user|operator)\b/.test(level.trim())) throw refused(api, `its level is ${level.trim()}`)
      }),
    )
  }

  advice(): string[] {
    return this.#logProblem === null ? [] : [this.#logProblem]
  }

  async read(servers: readonly string[], signal: AbortSignal): Promise<ServerTraffic[]> {
    const look = await this.#look(signal)
    return servers.map((server) => this.#find(server, look))
  }

  async drain(server: string, options: DrainOptions): Promise<{ inFlight: number }> {
    const first = await this.#look(options.signal)
    let last = this.#find(server, first).inFlight
    let told = -1
    let sessions: number | null = null
    await this.#want(server, 'drain', options.signal)
    const began = performance.now()
    for (;;) {
      const look = await this.#look(options.signal)
      const seen = this.#find(server, look)
      // What is in flight in a process that a reload replaced cannot be asked for any more: it gets all of its time.
      last = look.processes === first.processes ? seen.inFlight : Math.max(last, seen.inFlight)
      if (last !== told) options.onProgress?.(last)
      told = last
      if ((last === 0 && seen.admission === 'out') || performance.now() - began >= options.timeout) break
      // A look that others share may have begun before HAProxy knew of the drain: then 0 in flight says nothing. A server
      // that is down gets nothing either way, and HAProxy calls it DOWN, not DRAIN.
      if (this.#wanted.get(server) === 'drain' && (seen.admission !== 'ready' || !seen.up)) {
        const given = look.sessions.get(server)!
        // Cookies and stick tables lead users to a server that drains, for as long as they come: only maint sends them elsewhere.
        const persistent = sessions !== null && given > sessions
        sessions = given
        if (last === 0 || persistent) {
          await this.#want(server, 'maint', options.signal)
          // One may have come between the look and the command: it is looked again.
          continue
        }
      }
      await pause(began, options.signal)
    }
    await this.#want(server, 'maint', options.signal)
    return { inFlight: last }
  }

  async register(server: string, options: RegisterOptions): Promise<void> {
    const first = await this.#look(options.signal)
    this.#find(server, first)
    this.#processes ??= first.processes
    this.#wanted.delete(server)
    this.#ready.add(server)
    this.#keepAsserting()
    await this.#set(server, 'ready', options.signal)
    const began = performance.now()
    for (;;) {
      const [seen] = await this.read([server], options.signal)
      if (seen!.up && seen!.admission === 'ready') return
      if (performance.now() - began >= options.timeout) {
        throw new DployError(
          'balancer.not_up',
          `HAProxy does not see ${server} as up after ${formatDuration(options.timeout)}: ${seen!.check ?? 'no check'}`,
          { where: server },
        )
      }
      await pause(began, options.signal)
    }
  }

  async readdress(server: string, port: number, signal: AbortSignal): Promise<void> {
    signal.throwIfAborted()
    await this.#ports.set(server, port)
    this.#keepAsserting()
  }

  async split(split: TrafficSplit | null, signal: AbortSignal): Promise<void> {
    signal.throwIfAborted()
    await this.read(split?.servers ?? [], signal)
    await this.#weights.set(split)
    if (split === null) this.#stopAssertingIfIdle()
    else this.#keepAsserting()
  }

  async counters(signal: AbortSignal): Promise<TrafficCounters> {
    const failedAt: Record<string, number> = {}
    const total: TrafficCounters = {
      requests: 0,
      serverErrors: 0,
      connectionErrors: 0,
      responseErrors: 0,
      retries: 0,
      redispatches: 0,
      failedAt,
    }
    for (const api of this.#apis) {
      for (const row of await this.#rows(api, signal)) {
        if (!this.#backends.includes(row.pxname!)) continue
        if (row.type === '2') failedAt[row.svname!] = (failedAt[row.svname!] ?? 0) + failedAttempts(row)
        if (row.type !== '1') continue
        total.requests += number(row.req_tot === '' ? row.stot : row.req_tot)
        total.serverErrors += number(row.hrsp_5xx)
        total.connectionErrors += number(row.econ)
        total.responseErrors += number(row.eresp)
        total.retries += number(row.wretr)
        total.redispatches += number(row.wredis)
      }
    }
    return total
  }

  async serverCounters(servers: readonly string[], signal: AbortSignal): Promise<Map<string, ServerCounters>> {
    const counters = new Map(servers.map((server) => [server, { requests: 0, failed: 0 }]))
    for (const api of this.#apis) {
      for (const row of await this.#rows(api, signal)) {
        const counted = row.type === '2' && this.#backends.includes(row.pxname!) ? counters.get(row.svname!) : undefined
        if (!counted) continue
        counted.requests += number(row.req_tot === undefined || row.req_tot === '' ? row.stot : row.req_tot)
        counted.failed += number(row.hrsp_5xx) + number(row.econ) + number(row.eresp)
      }
    }
    return counters
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#asserting) clearInterval(this.#asserting)
    this.#ports[Symbol.dispose]()
    this.#closed.abort()
  }

  async #want(server: string, wanted: Wanted, signal: AbortSignal): Promise<void> {
    this.#wanted.set(server, wanted)
    this.#ready.delete(server)
    this.#keepAsserting()
    await this.#set(server, wanted, signal)
  }

  #keepAsserting(): void {
    this.#asserting ??= setInterval(() => void this.#assert().catch(() => {}), assertEvery)
    this.#asserting.unref()
  }

  /** A reload starts HAProxy anew, without the states, ports and weights that were set. */
  async #assert(): Promise<void> {
    const { signal } = this.#closed
    await this.#ports.assert()
    await this.#weights.assert()
    const look = await this.#look(signal)
    // Only what a new process forgot is set again: who is taken out by hand meanwhile stays out.
    const isNew = this.#processes !== null && this.#processes !== look.processes
    this.#processes = look.processes
    for (const seen of look.servers) {
      if (isNew && this.#ready.has(seen.server) && seen.admission !== 'ready')
        await this.#set(seen.server, 'ready', signal)
      const wanted = this.#wanted.get(seen.server)
      if (wanted === undefined) continue
      const right = wanted === 'maint' ? seen.admission === 'out' : seen.admission !== 'ready'
      if (!right) await this.#set(seen.server, wanted, signal)
    }
  }

  #stopAssertingIfIdle(): void {
    if (
      this.#wanted.size > 0 ||
      this.#ready.size > 0 ||
      this.#ports.wanted.size > 0 ||
      this.#weights.wanted !== null ||
      !this.#asserting
    )
      return
    clearInterval(this.#asserting)
    this.#asserting = null
  }

  #set(server: string, state: Wanted | 'ready', signal: AbortSignal): Promise<void> {
    signal.throwIfAborted()
    const done = Promise.withResolvers<void>()
    for (const backend of this.#backends) {
      const name = `${backend}/${server}`
      const agent: Command = { text: `${state === 'ready' ? 'enable' : 'disable'} agent ${name}`, agentOf: name, done }
      const itself: Command = { text: `set server ${name} state ${state}`, agentOf: null, done }
      this.#commands.push(...(state === 'ready' ? [itself, agent] : [agent, itself]))
    }
    if (!this.#sending) {
      this.#sending = true
      queueMicrotask(() => void this.#send())
    }
    return done.promise
  }

  /** What was asked for at the same time goes in one connection to each HAProxy. */
  async #send(): Promise<void> {
    const commands = this.#commands
    this.#commands = []
    this.#sending = false
    const waiting = new Set(commands.map(({ done }) => done))
    try {
      const agents = await this.#withAgents()
      await Promise.all(
        this.#apis.map(async (api) => {
          const own = commands.filter(({ agentOf }) => agentOf === null || agents.get(api)!.has(agentOf))
          const answer = (await api.ask(own.map(({ text }) => text).join(';'), this.#closed.signal)).trim()
          if (answer === '') return
          if (/no such server/i.test(answer))
            throw new DployError('balancer.unknown_server', `HAProxy at ${api.address}: ${answer}`, {
              where: api.address,
            })
          if (/no such backend/i.test(answer))
            throw new DployError('balancer.unknown_backend', `HAProxy at ${api.address}: ${answer}`, {
              where: api.address,
            })
          throw refused(api, answer)
        }),
      )
      for (const done of waiting) done.resolve()
    } catch (error) {
      for (const done of waiting) done.reject(error)
    }
  }

  async #withAgents(): Promise<ReadonlyMap<RuntimeApi, ReadonlySet<string>>> {
    this.#agents ??= Promise.all(
      this.#apis.map(async (api) => [api, await serversWithAgents(api, this.#backends, this.#closed.signal)] as const),
    ).then((found) => new Map(found))
    try {
      return await this.#agents
    } catch (error) {
      this.#agents = null
      throw error
    }
  }

  /** What all HAProxies say of all servers; callers at the same time share one look. */
  #look(signal: AbortSignal): Promise<Look> {
    signal.throwIfAborted()
    this.#looking ??= this.#readAll().finally(() => (this.#looking = null))
    return this.#looking
  }

  async #readAll(): Promise<Look> {
    const answers = await Promise.all(this.#apis.map((api) => api.ask(`show info;${showServers}`, this.#closed.signal)))
    const rows = answers
      .flatMap((answer) => parseStatistics(answer.slice(Math.max(0, answer.indexOf('# pxname,'))), this.#backends))
      .filter((row) => row.type === '2')
    const own = [...Map.groupBy(rows, (row) => row.svname!)]
    return {
      servers: own.map(([server, rows]) => merge(server, rows)),
      sessions: new Map(own.map(([server, rows]) => [server, rows.reduce((sum, row) => sum + number(row.stot), 0)])),
      processes: answers.map((answer) => /^Pid: (\d+)$/m.exec(answer)?.[1]).join(),
    }
  }

  #find(server: string, look: Look): ServerTraffic {
    const found = look.servers.find((one) => one.server === server)
    if (found) return found
    const names = look.servers.map((one) => one.server)
    throw new DployError(
      'balancer.unknown_server',
      `HAProxy has no server ${server} in ${this.#backends.join(', ')}; it has ${names.join(', ') || 'none'}${nearest(server, names)}`,
      { where: this.#apis[0]!.address },
    )
  }

  async #rows(api: RuntimeApi, signal: AbortSignal): Promise<StatRow[]> {
    return parseStatistics(await api.ask(showServers, signal))
  }
}

export const haproxyDriver: BalancerDriver<'haproxy'> = { kind: 'haproxy', open: (config) => new Haproxy(config) }

/**
 * Attempts at a server that came to nothing. Where a kept connection ends instead of an answer, HAProxy ends the client's too
 * and counts no error (http_ana.c, `abort_keep_alive`): what shows is a session (stot) without an answer (hrsp_*).
 */
function failedAttempts(row: Record<string, string>): number {
  const answered = ['hrsp_1xx', 'hrsp_2xx', 'hrsp_3xx', 'hrsp_4xx', 'hrsp_5xx', 'hrsp_other'].reduce(
    (sum, name) => sum + number(row[name]),
    0,
  )
  return Math.max(
    number(row.econ) + number(row.eresp),
    number(row.stot) - answered - number(row.scur) - number(row.cli_abrt),
  )
}

/** The worst that any HAProxy or backend says of a server counts. */
function merge(server: string, rows: readonly StatRow[]): ServerTraffic {
  const admissions = rows.map(admissionOf)
  const first = rows.find((row) => !isUp(row)) ?? rows[0]!
  return {
    server,
    admission: admissions.includes('ready')
      ? admissions.every((one) => one === 'ready')
        ? 'ready'
        : 'draining'
      : admissions.includes('draining')
        ? 'draining'
        : 'out',
    up: rows.every(isUp),
    inFlight: rows.reduce((sum, row) => sum + number(row.scur) + number(row.qcur), 0),
    check: checkOf(first),
  }
}

/** Null where HAProxy does not check the server, or has not yet: then UP says nothing. */
function checkOf({ status, check_status, check_code }: StatRow): string | null {
  if (check_status === 'INI' || status === 'no check') return null
  return check_status ? `${status} (${check_status}${check_code ? ` ${check_code}` : ''})` : (status ?? null)
}

/** `status` is UP, DOWN, MAINT, DRAIN, NOLB or `no check`, with details behind: `UP 1/2`, `MAINT (via a/b)`. */
function admissionOf(row: StatRow): ServerTraffic['admission'] {
  if (row.status!.startsWith('MAINT')) return 'out'
  if (row.status!.startsWith('DRAIN') || row.status!.startsWith('NOLB')) return 'draining'
  return 'ready'
}

function isUp(row: StatRow): boolean {
  return row.status!.startsWith('UP') || row.status!.startsWith('no check') || row.status!.startsWith('DRAIN')
}

function number(text: string | undefined): number {
  return text === undefined || text === '' ? 0 : Number(text)
}

async function pause(began: number, signal: AbortSignal): Promise<void> {
  signal.throwIfAborted()
  await new Promise((resolve) => setTimeout(resolve, performance.now() - began < eager ? lookEvery : lookLater))
}

function nearest(name: string, names: readonly string[]): string {
  const best = names.map((one) => ({ one, far: distance(one, name) })).sort((a, b) => a.far - b.far)[0]
  return best && best.far <= 2 ? `; did you mean ${best.one}?` : ''
}

function refused(api: RuntimeApi, why: string): DployError {
  return new DployError('balancer.refused', `HAProxy at ${api.address} refuses commands: ${why.split('\n')[0]}`, {
    where: api.address,
    fix: 'Give its control socket "level admin" in haproxy.cfg: stats socket … level admin',
  })
}
