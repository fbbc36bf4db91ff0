import type { BalancerConfig } from '../protocol/config/config.ts'
import type { Suggestion } from '../protocol/receipt.ts'

/** What a balancer knows of one server. */
export interface ServerTraffic {
  server: string
  /** `ready`: gets traffic when up. `draining`: gets nothing new, may still answer. `out`: gets nothing. */
  admission: 'ready' | 'draining' | 'out'
  /** Whether the balancer itself sees the server as healthy. */
  up: boolean
  /** Requests that the server is answering now, over all addresses and backends. */
  inFlight: number
  /** What the balancer says of its last check, for people: `L7OK 200 in 2 ms`. Null if it does not check. */
  check: string | null
}

/** Totals since the balancer started, summed over addresses and backends. */
export interface TrafficCounters {
  requests: number
  /** Answers 500 to 599, whether the server's or the balancer's own. */
  serverErrors: number
  connectionErrors: number
  responseErrors: number
  /** Attempts that the balancer repeated, on the same server or (redispatched) on another. */
  retries: number
  redispatches: number
  /** Connections and answers that failed, by server; left out where the balancer does not tell. */
  failedAt?: Readonly<Record<string, number>>
}

/** Of one server, summed over addresses and backends. */
export interface ServerCounters {
  requests: number
  /** Answers 500 to 599, connections that it refused, and answers that broke off. */
  failed: number
}

export interface DrainOptions {
  /** Milliseconds after which draining gives up waiting. */
  timeout: number
  signal: AbortSignal
  /** Called when the number of requests in flight changes. Null: some may be, and the balancer does not say how many. */
  onProgress?: (inFlight: number | null) => void
}

/** A request as the balancer's log tells of it, once it is over. Times in milliseconds; null: it never came to that, or nobody says. */
export interface LoggedRequest {
  /** When the balancer began to read it, epoch milliseconds. */
  at: number
  /** The port of the user's end of the connection. */
  clientPort: number | null
  /** Where it was sent, last where it was tried again; null: nowhere. */
  server: string | null
  method: string | null
  path: string | null
  /** Null: nothing was answered. */
  status: number | null
  /** In queues; until the server was connected; from then until its answer began. */
  waitMs: number | null
  connectMs: number | null
  answerMs: number | null
  totalMs: number
  /** How often it was tried again. */
  retries: number
  /** How it ended, in the balancer's own letters. */
  ending: string
}

/** A part of the traffic that some servers get together. */
export interface TrafficSplit {
  servers: readonly string[]
  /** Of all requests, more than 0 and less than 1. */
  share: number
}

export interface RegisterOptions {
  /** Milliseconds after which the server has to be up. */
  timeout: number
  signal: AbortSignal
}

/**
 * A balancer, as a deployment uses it. Every call may be made for many servers at the same time; a driver bundles what
 * it sends. Until a drained server is registered again (or the balancer is disposed of), the driver re-asserts the
 * drain when the balancer forgets it (a reload).
 *
 * Errors: `balancer.unreachable`, `balancer.unknown_backend`, `balancer.unknown_server`, `balancer.refused`.
 */
export interface Balancer extends AsyncDisposable {
  readonly kind: BalancerConfig['kind']
  readonly capabilities: {
    /** Tells how many requests are in flight, so that draining ends by fact and not by time. */
    countsInFlight: boolean
    /** Has totals, so that the receipt can tell requests, errors and retries. */
    counts: boolean
    /** Servers can be kept out of traffic at all. False: activating a server is seen by its users. */
    drains: boolean
    /** A change is a reload, which ends idle connections of users. */
    reloads: boolean
    /** A server that is not in it at all counts as out, also one that nobody has put in yet. Left out: servers stand in its configuration. */
    absentIsOut?: boolean
  }
  /** What to change at the program itself, by what went wrong there: for receipts. Left out: what helps with any. */
  readonly remedies?: { restarted?: Suggestion; seldomChecked?: Suggestion }
  /** Throws unless every server stands in every backend at every address, and commands are allowed. Changes nothing. */
  check(servers: readonly string[], signal: AbortSignal): Promise<void>
  /** What the balancer says of the servers; a driver leaves out those of which it cannot tell anything. */
  read(servers: readonly string[], signal: AbortSignal): Promise<ServerTraffic[]>
  /**
   * Lets nothing new reach the server, waits until nothing is in flight, then takes it out so that the balancer's own
   * check does not complain while it restarts. Resolves with the requests still in flight when the time was up (0: drained;
   * null: some may be, and the balancer does not say how many).
   */
  drain(server: string, options: DrainOptions): Promise<{ inFlight: number | null }>
  /** Puts the server back and resolves when the balancer itself sees it up. Throws `balancer.not_up`. */
  register(server: string, options: RegisterOptions): Promise<void>
  /**
   * Sends what is new to this port of the server, at once and at every address of the balancer; what is under way ends
   * where it began. Left out where a balancer cannot.
   */
  readdress?(server: string, port: number, signal: AbortSignal): Promise<void>
  /**
   * Sends a share of what is new to some servers together, whatever their number, and keeps to it, also when the balancer
   * is reloaded. Null: every server gets what the balancer's own configuration gives it, also after another process had split.
   * Left out where a balancer cannot. Throws `balancer.cannot_split`.
   */
  split?(split: TrafficSplit | null, signal: AbortSignal): Promise<void>
  /** Null where `capabilities.counts` is false. */
  counters(signal: AbortSignal): Promise<TrafficCounters | null>
  /** Requests and failures of each server since the balancer started. Left out where a balancer does not count by server. */
  serverCounters?(servers: readonly string[], signal: AbortSignal): Promise<Map<string, ServerCounters>>
  /** Tells of every request in the balancer's log from now on, until disposed of. Left out where dploy.yml names no log. Throws `balancer.log_unreadable`. */
  follow?(onRequest: (request: LoggedRequest) => void): Promise<AsyncDisposable>
  /** What the last `check` saw of the balancer's settings that makes such a deployment slow or cuts requests; for people. */
  advice?(pace: Pace): string[]
}

/** What of a deployment's plan matters to a balancer. Milliseconds. */
export interface Pace {
  batches: number
  drain: number
  register: number
}

/** What a server's agent told of itself, for drivers that find it at the balancer by that. Null: no agent has told yet. */
export type FactsOf = (server: string) => Promise<{ instanceId?: string | undefined } | null>

/** Makes a balancer from its part of dploy.yml. One per kind; listed in registry.ts. Opens no connection by itself. */
export interface BalancerDriver<K extends BalancerConfig['kind']> {
  kind: K
  open(config: Extract<BalancerConfig, { kind: K }>, factsOf: FactsOf): Balancer
}
