import { createHash } from 'node:crypto'
import type { Logger } from 'pino'
import * as z from 'zod'
import type { DeliveryResult } from '../../protocol/api/webhooks.ts'
import { DployError, reportOf } from '../../protocol/errors.ts'
import type { Deployer } from '../deploy/run/deployer.ts'
import type { Environment } from '../store/applications.ts'
import type { Store } from '../store/store.ts'
import type { WaitingDelivery } from '../store/webhooks.ts'
import { judge, type Limits } from './rules.ts'
import type { Message, Push } from './push.ts'
import { services } from './services/registry.ts'
import type { Headers } from './services/service.ts'

/** What a service is told at once. */
export interface Receipt {
  delivery: string | null
  state: 'accepted' | 'ignored' | 'known'
  reason: string
}

/** Names what services call their messages and events; what is longer was not made by them. */
const longest = 200

/**
 * Takes what services send, and starts deployments of it afterwards: a service waits seconds for its answer and disables
 * what fails, so that it hears only whether its signature was right. What was taken is stored first, and worked through
 * one by one, also after a restart.
 */
export class Receiver implements AsyncDisposable {
  readonly #store: Store
  readonly #deployer: Pick<Deployer, 'submit' | 'cancel'>
  readonly #log: Logger
  #working: Promise<void> | null = null
  #again = false
  #ended = false

  constructor(options: { store: Store; deployer: Pick<Deployer, 'submit' | 'cancel'>; log: Logger }) {
    this.#store = options.store
    this.#deployer = options.deployer
    this.#log = options.log
  }

  /** Takes a message as it came. Throws `webhook.unknown` and `webhook.forged`. */
  async receive(id: string, headers: Headers, body: Uint8Array, now: number): Promise<Receipt> {
    const webhook = await this.#store.webhooks.get(id)
    const service = services[webhook.service]
    if (!service.isSigned(await this.#store.webhooks.secretOf(id), headers, body, now))
      throw new DployError('webhook.forged', `This is not signed with the secret of the webhook ${id}`)
    const event = service.eventOf(headers).slice(0, longest)
    const message = readMessage(() => service.read(event, parsed(headers, body)), service.title)
    // Without a number of its own it is the same message when its content is.
    const delivery = (service.deliveryOf(headers) ?? createHash('sha256').update(body).digest('hex')).slice(0, longest)
    const nothing = 'nothing' in message ? message.nothing : ''
    const stored = await this.#store.webhooks.receive(
      id,
      { delivery, event, push: 'push' in message ? message.push : null, reason: nothing },
      now,
    )
    if (stored === null) return { delivery: null, state: 'known', reason: 'it came before' }
    if (nothing !== '') return { delivery: stored, state: 'ignored', reason: nothing }
    this.work()
    return { delivery: stored, state: 'accepted', reason: '' }
  }

  /** Works through a stored message once more, as one of its own. Throws `webhook.unknown`, `not_found`, and `request.invalid` where it told of nothing. */
  async again(webhook: string, delivery: string, by: { name: string; identity: string }, now: number): Promise<string> {
    const id = await this.#store.webhooks.again(webhook, delivery, { by: by.name, identity: by.identity }, now)
    this.work()
    return id
  }

  /** What a push would start. */
  async rehearse(
    push: Push,
    limits: Limits,
  ): Promise<{ application: string; environment: string; deploys: boolean; reason: string }[]> {
    const verdicts = judge(push, await this.#store.applications.environments(), limits)
    return verdicts.map(({ environment, branch, reason }) => ({
      application: environment.application,
      environment: environment.name,
      deploys: branch !== null,
      reason,
    }))
  }

  /** Works through what waits, in the background. */
  work(): void {
    if (this.#ended) return
    this.#again = true
    this.#working ??= this.#workAll().finally(() => {
      this.#working = null
    })
  }

  /** Waits until nothing is being worked through. */
  async settled(): Promise<void> {
    while (this.#working) await this.#working
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#ended = true
    await this.settled()
  }

  async #workAll(): Promise<void> {
    while (this.#again && !this.#ended) {
      this.#again = false
      try {
        await this.#workThrough(await this.#store.webhooks.waiting())
      } catch (error) {
        this.#log.error({ err: error }, 'messages of webhooks could not be worked through')
      }
    }
  }

  /** Of pushes that came together, each environment gets the newest alone. */
  async #workThrough(waiting: readonly WaitingDelivery[]): Promise<void> {
    const environments = waiting.length === 0 ? [] : await this.#store.applications.environments()
    const verdicts = waiting.map((delivery) => judge(delivery.push, environments, delivery.webhook))
    const newest = new Map<string, string>()
    verdicts.forEach((list, index) =>
      list.forEach(({ environment, branch }) => branch && newest.set(environment.id, waiting[index]!.id)),
    )
    for (const [index, delivery] of waiting.entries()) {
      if (this.#ended) return
      const results: DeliveryResult[] = []
      for (const { environment, branch, reason } of verdicts[index]!) {
        const result = { application: environment.application, environment: environment.name, deployment: null }
        if (branch === null) results.push({ ...result, reason })
        else if (newest.get(environment.id) !== delivery.id) results.push({ ...result, reason: 'a newer push came' })
        else results.push({ ...result, ...(await this.#deploy(delivery, environment, branch)) })
      }
      await this.#store.webhooks.finish(delivery.id, {
        state: 'done',
        reason: results.length === 0 ? `no application has the source ${delivery.push.repository.name}` : '',
        results,
      })
    }
  }

  async #deploy(
    delivery: WaitingDelivery,
    environment: Environment,
    branch: { name: string; commit: string },
  ): Promise<{ deployment: number | null; reason: string }> {
    const store = this.#store
    const { webhook, push } = delivery
    try {
      // A control plane that was killed in the middle may have got so far.
      const before = await store.webhooks.ofPush(environment.id, delivery.id)
      if (before !== null) return { deployment: before, reason: '' }
      const pushed = `${push.by} (push to ${services[webhook.service].title})`
      const requestedBy = push.again === undefined ? pushed : `${push.again.by} (again: ${pushed})`
      await this.#supersede(environment, `${branch.name} at ${branch.commit.slice(0, 8)}`)
      const id = await this.#deployer.submit({
        environment,
        kind: 'deploy',
        // The branch, not the commit: a message that is late must not bring back what was there before.
        request: {
          revision: branch.name,
          artifact: null,
          release: null,
          servers: null,
          push: { delivery: delivery.id },
        },
        requestedBy,
        requester: push.again?.identity ?? webhook.id,
        wait: true,
      })
      const { number } = await store.deployments.get(id)
      await store.audit.add(
        {
          who: requestedBy,
          kind: 'webhook',
          address: '',
          action: 'deploy',
          environmentId: environment.id,
          application: environment.application,
          environment: environment.name,
          subject: `deployment ${number}`,
          outcome: 'done',
          problem: null,
          before: null,
          after: { deployment: number, webhook: webhook.id, branch: branch.name, commit: branch.commit },
        },
        Date.now(),
      )
      return { deployment: number, reason: '' }
    } catch (error) {
      const report = reportOf(error)
      if (report.code === 'internal') this.#log.error({ err: error }, 'a push could not be deployed')
      return { deployment: null, reason: report.message }
    }
  }

  /** Ends what earlier pushes brought and has not begun: it waits in line, or for approval. */
  async #supersede(environment: Environment, by: string): Promise<void> {
    for (const id of await this.#store.webhooks.pushesInLine(environment.id)) {
      await this.#deployer.cancel(id, `A newer push took its place: ${by}`).catch((error: unknown) => {
        // It ended meanwhile.
        if (!(error instanceof DployError) || error.code !== 'deployment.conflict') throw error
      })
    }
  }
}

/** GitHub can be set to send its JSON as a form. */
function parsed(headers: Headers, body: Uint8Array): unknown {
  const text = new TextDecoder().decode(body)
  const form = headers['content-type']?.startsWith('application/x-www-form-urlencoded') === true
  return JSON.parse(form ? (new URLSearchParams(text).get('payload') ?? '') : text)
}

/** What cannot be read was signed all the same: the service is told, and goes on sending. */
function readMessage(read: () => Message, title: string): Message {
  try {
    return read()
  } catch (error) {
    if (error instanceof z.ZodError)
      return {
        nothing: `this is not what ${title} publishes: ${error.issues[0]?.path.join('.') ?? ''} ${error.issues[0]?.message ?? ''}`,
      }
    if (error instanceof SyntaxError) return { nothing: 'the body is not JSON' }
    throw error
  }
}
