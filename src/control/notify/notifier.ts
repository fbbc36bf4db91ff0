import type { Logger } from 'pino'
import type { NotifyEntry, NotifyKind, Moment } from '../../protocol/config/notify.ts'
import type { DeploymentState } from '../../protocol/deployment.ts'
import { DployError, reportOf } from '../../protocol/errors.ts'
import { newId } from '../../protocol/ids.ts'
import type { Environment } from '../store/applications.ts'
import type { Addressed, StateEvent, Waiting } from '../store/outbox.ts'
import type { Store } from '../store/store.ts'
import { sendCommitStatus } from './commit-status.ts'
import type { Notification } from './notification.ts'
import { sendSigned } from './signed-webhook.ts'
import { sendToSlack } from './slack.ts'
import { Undelivered, type Parcel, type Sender } from './sender.ts'
import { targetsOf, wants } from './targets.ts'

/** What speaks HTTP and SMTP for them is loaded when there is something to send: most commands have nothing. */
const senders: { [K in NotifyKind]: Sender<K> } = {
  slack: sendToSlack,
  webhook: sendSigned,
  email: async (parcel) => (await import('./email.ts')).sendMail(parcel),
  commit_status: sendCommitStatus,
}

/** The moment that a state is; null: people are not told of it. A revision is known from `building` on. */
const moments: Record<DeploymentState, Moment | null> = {
  waiting_for_approval: 'waiting_for_approval',
  queued: null,
  resolving: null,
  building: 'started',
  staging: 'started',
  committing: null,
  activating: null,
  baking: null,
  succeeded: 'succeeded',
  rolling_back: null,
  rolled_back: 'rolled_back',
  failed: 'failed',
  cancelled: 'cancelled',
}

/** Milliseconds. */
export interface Patience {
  /** How often the events are looked at. */
  look: number
  /** Before the second try; each further one waits twice as long, up to `longest`, and by chance up to a half less. */
  first: number
  longest: number
  /** After so long a notification is given up, it is news no more. */
  giveUp: number
  /** After so long without one that arrived nothing is sent there any more. */
  disable: number
}

const patience: Patience = {
  look: 1_000,
  first: 5_000,
  longest: 3_600_000,
  giveUp: 24 * 3_600_000,
  disable: 3 * 24 * 3_600_000,
}
const together = 50
/** How long a command waits at its end for what is yet to be told; the next one goes on. Milliseconds. */
const lastWords = 3_000

/** Tells people and programs of deployments: makes notifications of stored events, and sends what is in the outbox until it arrived. */
export class Notifier implements AsyncDisposable {
  readonly #store: Store
  readonly #log: Logger
  readonly #pageOf: (deployment: number) => string | null
  readonly #patience: Patience
  readonly #brief: boolean
  #timer: NodeJS.Timeout | null = null
  #working: Promise<void> | null = null
  #ended = false

  /** `pageOf`: the address of a deployment's page; null where it is not known. `brief`: this process ends with a command, and tells what happened before it does. */
  constructor(options: {
    store: Store
    log: Logger
    brief?: boolean
    pageOf?: (deployment: number) => string | null
    patience?: Partial<Patience>
  }) {
    this.#store = options.store
    this.#log = options.log
    this.#pageOf = options.pageOf ?? (() => null)
    this.#brief = options.brief ?? false
    this.#patience = { ...patience, ...options.patience }
  }

  start(): void {
    const again = () => {
      if (this.#ended) return
      this.#timer = setTimeout(() => {
        this.#working = this.work()
          .catch((error: unknown) => this.#log.error({ err: error }, 'notifications could not be worked through'))
          .finally(() => {
            this.#working = null
            again()
          })
      }, this.#patience.look)
      this.#timer.unref()
    }
    again()
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#timer) clearTimeout(this.#timer)
    if (this.#brief) {
      await this.#working
      const late = new Promise<void>((resolve) => setTimeout(resolve, lastWords).unref())
      this.#working = this.work().catch((error: unknown) =>
        this.#log.error({ err: error }, 'notifications could not be worked through'),
      )
      await Promise.race([this.#working, late])
      this.#ended = true
      return
    }
    this.#ended = true
    await this.#working
  }

  /** Makes notifications of what happened, and sends those that are due. */
  async work(): Promise<void> {
    await this.#collect()
    for (let sent = together; sent === together && !this.#ended;) sent = await this.#send()
  }

  /** That a server is gone, to all who want to hear of it. `since` in epoch milliseconds. */
  async serverGone(server: { id: string; name: string }, since: number): Promise<void> {
    for (const environment of await this.#store.applications.environmentsOf(server.id)) {
      const told: Notification = {
        moment: 'server_gone',
        application: environment.application,
        environment: environment.name,
        at: Date.now(),
        deployment: null,
        server: { name: server.name, since },
        by: null,
      }
      for (const one of addressed(environment, `${server.id}:${since}`, told))
        await this.#store.outbox.add(one, Date.now())
    }
  }

  /** Sends a test at once, whether it is disabled or not, and takes it up again if it arrives. Throws `notification.unknown`, `notification.undelivered`. */
  async test(environment: Environment, key: string, by: string): Promise<void> {
    const target = targetsOf(environment).find((one) => one.key === key)
    if (!target)
      throw new DployError(
        'notification.unknown',
        `dploy.yml has no such entry under notify for ${environment.application}/${environment.name}`,
      )
    if (target.entry.kind === 'commit_status')
      throw new DployError('request.invalid', 'A commit status is set by a deployment; there is none to try it with', {
        fix: 'Deploy, then look at the commit',
      })
    const told: Notification = {
      moment: 'test',
      application: environment.application,
      environment: environment.name,
      at: Date.now(),
      deployment: null,
      server: null,
      by,
    }
    try {
      await this.#deliver(newId('msg'), told, environment, target.entry)
    } catch (error) {
      throw new DployError(
        'notification.undelivered',
        `It did not arrive: ${error instanceof Undelivered ? error.message : reportOf(error).message}`,
        { where: target.name },
      )
    }
    await this.#store.outbox.enable(await this.#store.outbox.targetOf(environment.id, key, target.name), Date.now())
  }

  async #collect(): Promise<void> {
    const news = await this.#store.outbox.news()
    if (!news) return
    const told: Addressed[] = []
    for (const event of news.events) told.push(...(await this.#notificationsOf(event)))
    await this.#store.outbox.took(news, told, Date.now())
  }

  async #notificationsOf({ deployment: id, state, at }: StateEvent): Promise<Addressed[]> {
    const moment = moments[state]
    if (moment === null) return []
    const row = await this.#store.deployments.get(id)
    const environment = await this.#store.applications.environmentById(row.environmentId)
    if (targetsOf(environment).length === 0) return []
    const shown = await this.#store.deployments.present(id)
    const { number, kind, requestedBy, revision, release, from, startedAt, failure } = shown
    const ended = shown.finishedAt !== null && moment !== 'started' && moment !== 'waiting_for_approval'
    const told: Notification = {
      moment,
      application: environment.application,
      environment: environment.name,
      at,
      deployment: {
        number,
        kind,
        requestedBy,
        release,
        from,
        revision: revision && {
          commit: revision.commit,
          ref: revision.ref,
          subject: revision.subject,
          author: revision.author,
        },
        seconds: startedAt === null ? null : (at - startedAt) / 1_000,
        failure: ended && failure ? { code: failure.code, message: failure.message, fix: failure.fix } : null,
        url: this.#pageOf(number),
      },
      server: null,
      by: null,
    }
    return addressed(environment, id, told)
  }

  /** Sends what is due: side by side to different targets, one after the other to the same. Answers how many were due. */
  async #send(): Promise<number> {
    const due = await this.#store.outbox.due(Date.now(), together)
    const byTarget = Map.groupBy(due, ({ target }) => target)
    await Promise.all(
      [...byTarget.values()].map(async (list) => {
        for (const waiting of list) if (!this.#ended && !(await this.#try(waiting))) return
      }),
    )
    return due.length
  }

  /** False: it did not arrive, and others would not either. */
  async #try(waiting: Waiting): Promise<boolean> {
    const { outbox } = this.#store
    try {
      const environment = await this.#store.applications.environmentById(waiting.environment)
      const target = targetsOf(environment).find(({ key }) => key === waiting.key)
      if (!target) throw new Undelivered('dploy.yml does not name it any more', 'never')
      await this.#deliver(waiting.id, waiting.told, environment, target.entry)
      await outbox.sent(waiting, Date.now())
      return true
    } catch (error) {
      if (!(error instanceof Undelivered)) this.#log.error({ err: error }, 'a notification could not be sent')
      const { again, message, wait } = error instanceof Undelivered ? error : new Undelivered(reportOf(error).message)
      const now = Date.now()
      const next = now + Math.max(wait ?? 0, this.#pause(waiting.attempts))
      const over = again !== 'later' || next - waiting.createdAt > this.#patience.giveUp
      const since = await outbox.failed(waiting, message, over ? null : next, now)
      if (again === 'gone') await outbox.disable(waiting.target, `${message}: it does not want any more`, now)
      else if (now - since >= this.#patience.disable)
        await outbox.disable(waiting.target, `nothing arrived since ${new Date(since).toISOString()}: ${message}`, now)
      return false
    }
  }

  /** Before the next try, after so many that failed before this one. Exponential, by chance up to a half less, so that not all come back at once. */
  #pause(attempts: number): number {
    return (
      Math.min(this.#patience.longest, this.#patience.first * 2 ** Math.min(attempts, 30)) * (0.5 + Math.random() / 2)
    )
  }

  async #deliver(id: string, told: Notification, environment: Environment, entry: NotifyEntry): Promise<void> {
    const send = senders[entry.kind] as (parcel: Parcel<NotifyKind>) => Promise<void>
    await send({
      id,
      told,
      entry,
      secret: await this.#secretOf(environment, entry),
      source: environment.config.source.repository,
      now: Date.now(),
    })
  }

  async #secretOf(environment: Environment, { secret: name }: NotifyEntry): Promise<string | null> {
    if (name === undefined) return null
    try {
      const ids = await this.#store.secrets.current(
        environment.id,
        [name],
        `${environment.application}/${environment.name}`,
      )
      return (await this.#store.secrets.values(ids))[name] ?? null
    } catch (error) {
      if (error instanceof DployError && error.code === 'secret.missing')
        throw new Undelivered(`the secret ${name} is not set: dploy secret set ${environment.name} ${name}`)
      throw error
    }
  }
}

function addressed(environment: Environment, about: string, told: Notification): Addressed[] {
  return targetsOf(environment)
    .filter(({ entry }) => wants(entry, told))
    .map(({ key, name }) => ({ environment: environment.id, key, name, about, told }))
}
