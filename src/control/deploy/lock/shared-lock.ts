import { setTimeout as delay } from 'node:timers/promises'
import { isDeepStrictEqual } from 'node:util'
import { releaseDirectory } from '../../../protocol/config/config.ts'
import type { AgentParams, AgentResult } from '../../../protocol/agent-messages.ts'
import type { DeploymentState, LockHolder } from '../../../protocol/deployment.ts'
import { formatDuration } from '../../../protocol/duration.ts'
import { DployError } from '../../../protocol/errors.ts'
import type { ReleaseSpec } from '../../../protocol/release-spec.ts'
import type { SharedHolder, SharedRecord } from '../../../protocol/shared-record.ts'
import type { AgentLink } from '../../gateway/agent-link.ts'
import type { Environment } from '../../store/applications.ts'
import type { DeploymentRow } from '../../store/deployments.ts'
import type { Store } from '../../store/store.ts'
import { isDeadHolder } from './holder.ts'
import { observeAll, type Seen } from './observe-all.ts'
import type { Patience } from './lease.ts'
import type { Observation } from '../run/observe.ts'
import { isCommitted } from '../run/states.ts'

/** How long a lock on servers lives without being prolonged, how often it is, and how often who waits looks. Milliseconds. */
const times = { laptop: { lease: 20_000, prolongEvery: 5_000 }, control: { lease: 60_000, prolongEvery: 20_000 } }
const lookEvery = 1_000
/** How long a server has to answer. Milliseconds. */
const answerWithin = 10_000
/** Of more servers than these a control plane tells each of the last few deployments only: all get the record, each time. */
const manyServers = 100
const fewDeployments = 5
/** Servers that are told within one turn; the next so many follow a millisecond later. */
const atOnce = 50

/** How long what was seen counts as what there is. Milliseconds. */
const fresh = 3_000

type Held = AgentResult<'hold'>
/** What each server has in its own record, by its name: releases by id, and whether a control plane wrote it. */
type Known = Map<string, { releases: ReadonlyMap<string, ReleaseSpec>; control: boolean }>
const nothing = { take: null, give: null, force: false, record: null } as const

export interface SharedLocksOptions {
  store: Store
  /** The open connections to an environment's servers, or to those of them that are named, in the order of dploy.yml. Opens those that are missing. */
  links(environment: Environment, signal: AbortSignal, only?: readonly string[] | null): Promise<AgentLink[]>
  holder: string
  /** Who deploys from here: a laptop, which is gone in a moment; or a control plane that agents dial, which asks those that are connected. */
  from: 'laptop' | 'control'
}

/**
 * The lock and the history that the servers of an environment keep themselves, for control planes that know nothing of
 * each other: every laptop has its own, and a team may have one. The lock is taken on the first server that is reached, then on the others, so
 * that of two who begin at the same moment one wins.
 */
export class SharedLocks {
  readonly #options: SharedLocksOptions
  readonly #others = new Map<string, LockHolder>()
  /** Connections on which it was asked what the server keeps for an environment. */
  readonly #looked = new WeakMap<AgentLink, Set<string>>()

  constructor(options: SharedLocksOptions) {
    this.#options = options
  }

  /** Nobody but the person before this machine deploys from here. */
  get alone(): boolean {
    return this.#options.from === 'laptop'
  }

  /** Asks the connected servers that have not been asked since they connected, and takes over what is not known here. Answers those that did not answer. */
  async lookAtNew(environment: Environment, signal: AbortSignal): Promise<AgentLink[]> {
    const links = (await this.#options.links(environment, signal)).filter(
      (link) => this.#looked.get(link)?.has(environment.id) !== true,
    )
    return this.lookOn(environment, links, signal)
  }

  /** The same of these connections. */
  async lookOn(environment: Environment, links: readonly AgentLink[], signal: AbortSignal): Promise<AgentLink[]> {
    if (links.length === 0) return []
    const answers = await this.#ask(environment, links, nothing, signal, () => true)
    return links.filter((link) => !answers.has(link))
  }

  /** Who else deploys, by what the servers said when they were asked last. */
  holder(environmentId: string): LockHolder | null {
    const other = this.#others.get(environmentId)
    return other && other.expires > Date.now() ? other : null
  }

  /** Asks the servers, or those that are named, what is deployed and who deploys, and takes over what is not known here. */
  async look(environment: Environment, signal: AbortSignal, only: readonly string[] | null = null): Promise<void> {
    const links = await this.#options.links(environment, signal, only)
    // What stands in the way there is for the command itself to find, and to tell.
    const said = links.flatMap(({ held }) => held ?? [])
    for (const link of links) link.held = null
    if (said.length === links.length) await this.#learn(environment, said)
    else await this.#ask(environment, links, nothing, signal, () => true)
  }

  /** Takes the lock on all servers that are reached. Throws `environment.locked`, and `lock.lost` for a deployment that others have overtaken. */
  async take(row: DeploymentRow, control: { wait: Patience; signal: AbortSignal }): Promise<SharedLock> {
    const { store, holder } = this.#options
    const environment = await store.applications.environmentById(row.environmentId)
    const since = Date.now()
    const mine = (state: DeploymentState): SharedHolder => ({
      deployment: row.id,
      number: row.number,
      holder,
      requestedBy: row.requestedBy,
      state,
      since,
    })
    for (;;) {
      control.signal.throwIfAborted()
      const links = await this.#options.links(environment, control.signal)
      const seen = new Map<string, Seen>()
      const known: Known = new Map()
      const took = await this.#takeAll(environment, links, mine(row.state), seen, known, control.signal)
      if (took) {
        const overtaken = row.fence > 0 && took.some(({ epoch }) => epoch > row.fence)
        const lock = new SharedLock({
          links: this.alone
            ? async () => links
            : () => this.#options.links(environment, AbortSignal.timeout(answerWithin)),
          ...times[this.#options.from],
          seen,
          known,
          ask: (links, params) =>
            this.#ask(
              environment,
              links,
              params,
              AbortSignal.timeout(answerWithin),
              this.alone ? isClosed : () => true,
            ),
          mine,
          make: () =>
            store.sharedRecords.make(environment.id, Date.now(), {
              control: !this.alone,
              ...(links.length > manyServers && { most: fewDeployments }),
            }),
          overTheDead: (answers, mine, record) =>
            this.alone
              ? Promise.resolve(answers)
              : this.#overTheDead(environment, answers, mine, record, AbortSignal.timeout(answerWithin)),
          isLost: (refused, of) => (this.alone ? refused > 0 : of > 0 && refused === of),
          byControl: [...known.values()].some(({ control }) => control),
        })
        if (!overtaken) return lock
        await lock.giveUp()
        throw new DployError(
          'lock.lost',
          `Deployment ${row.number} was overtaken by another one while it was interrupted`,
        )
      }
      const other = this.holder(environment.id)
      if (control.wait !== 'always') throw lockedError(other)
      await delay(lookEvery, undefined, { signal: control.signal }).catch(() => control.signal.throwIfAborted())
    }
  }

  /** Opens the lock by force. Answers who held it. */
  async force(environment: Environment, signal: AbortSignal): Promise<LockHolder | null> {
    const held = this.holder(environment.id)
    await this.#ask(
      environment,
      await this.#options.links(environment, signal),
      { ...nothing, force: true },
      signal,
      this.alone ? isClosed : () => true,
    )
    this.#others.delete(environment.id)
    return held
  }

  /** Null if somebody else holds it; what was taken until then is given back. */
  async #takeAll(
    environment: Environment,
    links: AgentLink[],
    mine: SharedHolder,
    seen: Map<string, Seen>,
    known: Known,
    signal: AbortSignal,
  ): Promise<Held[] | null> {
    const taken: AgentLink[] = []
    const all: Held[] = []
    // What there was on a server when it was connected still is there if no other deployment has begun since; else it is asked for.
    const looked = new Map(
      links.flatMap((link) =>
        link.looked && performance.now() - link.looked.at < fresh ? [[link, link.looked] as const] : [],
      ),
    )
    for (const link of links) link.looked = null
    const unseen = links.filter((link) => !looked.has(link))
    // The first one decides; the others follow together, and what is asked for with them.
    for (const some of this.alone ? [links.slice(0, 1), links.slice(1)] : [links]) {
      const [answers] = await Promise.all([
        this.#takeOver(environment, some, mine, signal),
        this.alone && (taken.length > 0 || links.length === 1) ? observeAll(environment, unseen, seen, signal) : null,
      ])
      for (const [link, held] of answers) {
        if (held.granted) taken.push(link)
        if (held.record) known.set(link.server.name, knownOf(held.record))
        all.push(held)
        const before = looked.get(link)
        if (before?.epoch === held.epoch && before.writtenAt === (held.record?.writtenAt ?? null))
          seen.set(link.server.name, before)
      }
      if (all.some(({ granted }) => !granted)) {
        await this.#ask(environment, taken, { ...nothing, give: mine.deployment }, signal)
        return null
      }
    }
    await observeAll(
      environment,
      [...looked.keys()].filter(({ server }) => !seen.has(server.name)),
      seen,
      signal,
    )
    this.#others.delete(environment.id)
    return all
  }

  /** Takes it where it is free or expired, and where a process holds it that is dead, or is this one: within a control plane deployments wait for each other before. */
  async #takeOver(
    environment: Environment,
    links: AgentLink[],
    mine: SharedHolder,
    signal: AbortSignal,
  ): Promise<Map<AgentLink, Held>> {
    const first = await this.#ask(
      environment,
      links,
      { ...nothing, take: { holder: mine, lease: times[this.#options.from].lease, over: null } },
      signal,
      this.alone ? isClosed : () => true,
    )
    return this.#overTheDead(environment, first, mine, null, signal)
  }

  /** Of those that refused, takes it over where a process holds it that is dead, or is this one. Answers what all say then. */
  async #overTheDead(
    environment: Environment,
    answers: Map<AgentLink, Held>,
    mine: SharedHolder,
    record: Ask['record'],
    signal: AbortSignal,
  ): Promise<Map<AgentLink, Held>> {
    const own = (holder: string) => !this.alone && holder === this.#options.holder
    const dead = [...answers].filter(
      ([, { granted, lock }]) => !granted && lock !== null && (isDeadHolder(lock.holder) || own(lock.holder)),
    )
    const { lease } = times[this.#options.from]
    for (const [over, some] of Map.groupBy(dead, ([, { lock }]) => lock!.deployment)) {
      const take = { holder: mine, lease, over }
      const links = some.map(([link]) => link)
      const ignores = this.alone ? isClosed : () => true
      for (const [link, held] of await this.#ask(environment, links, { ...nothing, take, record }, signal, ignores))
        answers.set(link, held)
    }
    return answers
  }

  async #ask(
    environment: Environment,
    links: readonly AgentLink[],
    params: Ask,
    signal: AbortSignal,
    ignores: (error: unknown) => boolean = isClosed,
  ): Promise<Map<AgentLink, Held>> {
    const { application, name } = environment
    const place = { application, environment: name, directory: releaseDirectory(environment.config, environment.name) }
    const answers = new Map<AgentLink, Held>()
    // What gives the lock up is sent before anything else is: it waits for nothing.
    const known =
      this.alone || params.give !== null ? null : await this.#options.store.sharedRecords.writtenAt(environment.id)
    const limit = AbortSignal.any([signal, AbortSignal.timeout(answerWithin)])
    await Promise.all(
      links.map(async (link, index) => {
        // Each command is signed: of thousands others get their turn in between.
        if (index >= atOnce) await delay(Math.floor(index / atOnce))
        if (params.unless?.()) return
        const asked = performance.now()
        try {
          answers.set(
            link,
            await link.command(
              'hold',
              {
                ...place,
                ...params,
                known: params.whole ? null : known,
                record: params.record?.(link.server.name) ?? null,
              },
              { application, environment: name, epoch: 0, signal: limit },
            ),
          )
          this.#looked.set(link, (this.#looked.get(link) ?? new Set()).add(environment.id))
          link.facts.roundTrip = Math.min(link.facts.roundTrip || Infinity, performance.now() - asked)
        } catch (error) {
          signal.throwIfAborted()
          if (!ignores(error)) throw error
        }
      }),
    )
    await this.#learn(environment, [...answers.values()])
    return answers
  }

  async #learn(environment: Environment, answers: readonly Held[]): Promise<void> {
    const records = answers.map(({ record }) => record).filter((record) => record !== null)
    const newest = records.reduce<SharedRecord | null>(
      (best, record) =>
        best === null || record.fence > best.fence || (record.fence === best.fence && record.writtenAt > best.writtenAt)
          ? record
          : best,
      null,
    )
    await this.#options.store.sharedRecords.take(
      environment.id,
      {
        epoch: answers.reduce((highest, { epoch }) => Math.max(highest, epoch), 0),
        record: newest,
        running: new Set(answers.flatMap(({ lock }) => (lock && !isDeadHolder(lock.holder) ? [lock.deployment] : []))),
        control: !this.alone,
      },
      Date.now(),
    )
    const other = answers.find(
      ({ lock }) => lock !== null && lock.holder !== this.#options.holder && !isDeadHolder(lock.holder),
    )?.lock
    if (!other) this.#others.delete(environment.id)
    else
      this.#others.set(environment.id, {
        ...other,
        kind: 'deploy',
        state: other.state as DeploymentState,
        expires: Date.now() + other.left,
      })
  }
}

/** `record`: what a server is to keep, by its name. */
type Ask = Pick<AgentParams<'hold'>, 'take' | 'give' | 'force'> & {
  record: ((server: string) => SharedRecord) | null
  /** The record is to be told also where it is known here. */
  whole?: boolean
  /** Once this says so it is not sent any more. */
  unless?: () => boolean
}
interface SharedLockOptions {
  seen: Map<string, Seen>
  known: Known
  /** Those that it is held on. */
  links(): Promise<readonly AgentLink[]>
  lease: number
  prolongEvery: number
  /** A control plane deployed here last. */
  byControl: boolean
  /** Servers that connected since may hold it for a deployment of before. */
  overTheDead(answers: Map<AgentLink, Held>, mine: SharedHolder, record: Ask['record']): Promise<Map<AgentLink, Held>>
  /** Whether so many refusals mean that another deployment has it. Fencing tokens decide on each server by itself. */
  isLost(refused: number, of: number): boolean
  ask(links: readonly AgentLink[], params: Ask): Promise<Map<AgentLink, Held>>
  mine(state: DeploymentState): SharedHolder
  make(): Promise<{ record: SharedRecord; made: ReadonlySet<string> }>
}

/** The lock of an environment on its servers, held: prolonged all the time, with a signal that aborts when it is lost. */
export class SharedLock implements AsyncDisposable {
  readonly #options: SharedLockOptions
  readonly #lost = new AbortController()
  readonly #timer: NodeJS.Timeout
  #state: DeploymentState = 'queued'
  #over = false

  constructor(options: SharedLockOptions) {
    this.#options = options
    this.#timer = setInterval(() => void this.#prolong(null).catch(() => {}), options.prolongEvery)
  }

  /** Aborts with `lock.lost` once another deployment holds it. */
  get signal(): AbortSignal {
    return this.#lost.signal
  }

  /** Whether a control plane wrote what the servers kept when the lock was taken. */
  get byControl(): boolean {
    return this.#options.byControl
  }

  /** What there was on the servers when the lock was taken, by name; each is told once, and only while it is fresh. */
  seen(server: string): Observation | null {
    const seen = this.#options.seen.get(server)
    this.#options.seen.delete(server)
    return seen && performance.now() - seen.at < fresh ? seen.observation : null
  }

  /**
   * Whether a server knows this very release, by the record that it keeps itself. What another laptop made is given to no server on the word of
   * another one: who is root on one of them would decide what the others run.
   */
  knows(server: string, spec: ReleaseSpec): boolean {
    return isDeepStrictEqual(this.#options.known.get(server)?.releases.get(spec.id), spec)
  }

  /** The same, asking a server that did not tell because its record is known here. */
  async knowsNow(server: string, spec: ReleaseSpec): Promise<boolean> {
    await this.#askKnown((await this.#open()).filter((link) => link.server.name === server))
    return this.knows(server, spec)
  }

  /** Asks those that did not tell their record, because it is known here, for what it names. */
  async #askKnown(links: readonly AgentLink[]): Promise<void> {
    const { known, ask } = this.#options
    const silent = links.filter(({ server }) => !known.has(server.name))
    if (silent.length === 0) return
    for (const [link, { record }] of await ask(silent, { ...nothing, whole: true }))
      known.set(link.server.name, record ? knownOf(record) : { releases: new Map(), control: false })
  }

  /** Notes where the deployment stands. From the commit point on the servers are told at once which release is wanted. */
  note(state: DeploymentState): void {
    this.#state = state
    // What is wanted is the same when it bakes.
    if (isCommitted(state) && state !== 'baking')
      void this.#record()
        .then((record) => this.#prolong(record))
        .catch(() => {})
  }

  /** Gives it up without writing anything. */
  async giveUp(): Promise<void> {
    clearInterval(this.#timer)
    this.#over = true
    await this.#options.ask(await this.#open(), { ...nothing, give: this.#options.mine(this.#state).deployment })
  }

  /** Writes what came of the deployment and gives up the lock; once. */
  async [Symbol.asyncDispose](): Promise<void> {
    clearInterval(this.#timer)
    if (this.#over || this.#lost.signal.aborted) return
    this.#over = true
    const record = await this.#record()
    // Sent, and done before anything that comes after it on these connections, their end too.
    const links = await this.#open()
    void this.#options
      .ask(links, { ...nothing, give: this.#options.mine(this.#state).deployment, record })
      .catch(() => {})
  }

  async #open(): Promise<AgentLink[]> {
    return (await this.#options.links()).filter((link) => link.open)
  }

  /** What each server is to keep: all that was made here, and of what others made what it has already. Nobody's word is passed on to another. */
  async #record(): Promise<(server: string) => SharedRecord> {
    const { record, made } = await this.#options.make()
    if (record.releases.some(({ spec }) => !made.has(spec.id))) await this.#askKnown(await this.#open())
    return (server) => ({
      ...record,
      releases: record.releases.filter(({ spec }) => made.has(spec.id) || this.knows(server, spec)),
    })
  }

  async #prolong(record: Ask['record']): Promise<void> {
    const holder = this.#options.mine(this.#state)
    const take = { holder, lease: this.#options.lease, over: null }
    const first = await this.#options.ask(await this.#open(), { ...nothing, take, record, unless: () => this.#over })
    if (this.#over) return
    const answers = await this.#options.overTheDead(first, holder, record)
    const refused = [...answers.values()].filter(({ granted }) => !granted).length
    if (!this.#over && this.#options.isLost(refused, answers.size)) this.#lost.abort(new DployError('lock.lost'))
  }
}

function knownOf(record: SharedRecord) {
  return { releases: new Map(record.releases.map(({ spec }) => [spec.id, spec])), control: record.control === true }
}

/** A server that is gone meanwhile is for the deployment to notice. */
function isClosed(error: unknown): boolean {
  return error instanceof DployError && error.code === 'connection.closed'
}

function lockedError(other: LockHolder | null): DployError {
  if (!other) return new DployError('environment.locked')
  return new DployError(
    'environment.locked',
    `Deployment ${other.number} by ${other.requestedBy} holds the lock since ${formatDuration(Date.now() - other.since)} and is ${other.state}`,
    {
      where: other.holder.split(':')[0],
      fix: `Wait for it: --wait. If that machine is gone, the lock opens by itself within ${Math.max(1, Math.ceil((other.expires - Date.now()) / 1000))} s`,
    },
  )
}
