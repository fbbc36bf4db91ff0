import type { DeploymentKind, DeploymentState } from '../../../protocol/deployment.ts'
import { DployError, reportOf } from '../../../protocol/errors.ts'
import type { Environment } from '../../store/applications.ts'
import type { Decision, NewApproval } from '../../store/approvals.ts'
import type { DeploymentRequest } from '../../store/deployment-request.ts'
import { isDeadHolder } from '../lock/holder.ts'
import { waitsFor, type Patience } from '../lock/lease.ts'
import type { RunnerOptions } from './run.ts'
import { runDeployment, Stopping, type Measure } from './runner.ts'
import { isFinal } from './states.ts'

export interface Submission {
  environment: Environment
  kind: DeploymentKind
  request: DeploymentRequest
  requestedBy: string
  /** Who asks: the same for the same person, however they ask. By default their name. */
  requester?: string
  wait: boolean
}

/** How long a deployment waits for approval. Milliseconds. */
const approvalTime = 24 * 3_600_000
/** How long servers have to answer that connected since the last deployment. Milliseconds. */
const lookTimeout = 5_000

/** Starts deployments, knows those that run in this process, and goes on with those that a killed one left behind. */
export class Deployer {
  readonly #options: RunnerOptions
  readonly #measure: Measure
  readonly #running = new Map<
    string,
    { controller: AbortController; done: Promise<DeploymentState>; recovered: string | null }
  >()
  /** Called when a deployment of this process is over. */
  onEnd: (id: string, state: DeploymentState) => void = () => {}

  constructor(options: RunnerOptions, measure: Measure) {
    this.#options = options
    this.#measure = measure
  }

  /**
   * Starts a deployment and answers its id as soon as it is queued. It waits for the lock with `wait`, and where servers
   * only converge.
   * Throws `environment.locked` and `environment.no_servers`.
   */
  async submit(submission: Submission): Promise<string> {
    const { environment } = submission
    const { store, shared } = this.#options
    const servers = await store.applications.servers(environment.id)
    if (servers.length === 0)
      throw new DployError('environment.no_servers', `${environment.application}/${environment.name} has no servers`)
    // Nobody has to know that servers converge just now.
    const patience = submission.wait ? 'always' : submission.kind === 'converge' ? 'never' : 'converging'
    // From a laptop nobody but this person could finish it: it is no reason to refuse.
    if (this.#options.shared.alone)
      for (const { recovered, done } of this.#running.values()) if (recovered === environment.id) await done
    const approval = await this.#approvalFor(submission)
    if (!approval) await this.#checkFree(environment, patience)
    // What servers tell that are new here has its numbers already.
    if (!shared.alone) {
      await shared.lookAtNew(environment, AbortSignal.timeout(lookTimeout))
      Object.assign(environment, await store.applications.environmentById(environment.id), {
        config: environment.config,
        base: environment.base,
      })
    }
    const id = await store.deployments.create(
      {
        environmentId: environment.id,
        kind: submission.kind,
        // What another person looks at is what is deployed, also when the branch moves on.
        request:
          approval?.revision && submission.request.artifact === null
            ? { ...submission.request, revision: approval.revision.commit }
            : submission.request,
        config: environment.config,
        base: environment.base,
        requestedBy: submission.requestedBy,
        releaseId: submission.request.release,
        fromReleaseId: environment.wantedRelease,
        approval,
        above: shared.holder(environment.id)?.number ?? 0,
      },
      Date.now(),
    )
    if (approval)
      store.events.add(
        id,
        null,
        { kind: 'note', text: 'this environment is protected: another person has to approve it' },
        Date.now(),
      )
    else this.#start(id, patience)
    return id
  }

  /** Takes up a deployment that another person approved, or ends it. Throws as Approvals.decide. */
  async decide(id: string, said: Decision): Promise<void> {
    await this.#options.store.approvals.decide(id, said, Date.now())
    if (said.decision === 'approve' && !this.#running.has(id)) this.#start(id, 'always')
  }

  /** Asks a deployment to stop, and says why. What was switched is switched back. Throws `deployment.conflict` if it is over. */
  async cancel(id: string, why?: string): Promise<void> {
    const row = await this.#options.store.deployments.get(id)
    if (isFinal(row.state))
      throw new DployError('deployment.conflict', `Deployment ${row.number} is already ${row.state}`)
    if (row.state === 'waiting_for_approval' && (await this.#options.store.approvals.cancel(id, Date.now(), why)))
      return
    await this.#options.store.deployments.requestCancel(id)
    this.#running.get(id)?.controller.abort(new DployError('deployment.cancelled', why))
  }

  /** Ends a deployment whose lock was opened by force, where it stands. What it left half done converges. */
  async unseat(id: string, why: string): Promise<void> {
    const lost = new DployError('lock.lost', why)
    await this.#options.store.deployments.abandon(id, reportOf(lost), Date.now())
    const running = this.#running.get(id)
    running?.controller.abort(lost)
    if (!running) this.onEnd(id, 'failed')
  }

  /** The end of a deployment that runs in this process; null if none of that id does. */
  done(id: string): Promise<DeploymentState> | null {
    return this.#running.get(id)?.done ?? null
  }

  /** Takes up the unfinished deployments whose process is gone, and finishes them or rolls them back. */
  async recover(): Promise<void> {
    await this.#options.store.approvals.expire(Date.now())
    for (const { id, environmentId, state } of await this.#options.store.deployments.unfinished()) {
      if (this.#running.has(id)) continue
      const lock = await this.#options.store.locks.holder(environmentId)
      const free = lock === null || lock.expires <= Date.now() || isDeadHolder(lock.holder)
      if (!free && lock.deployment === id) continue
      if (state === 'queued' && lock !== null && lock.deployment !== id && !free) continue
      this.#options.log.info({ deployment: id, state }, 'going on with a deployment that was left behind')
      this.#start(id, 'always', environmentId)
      const { cancelRequested } = await this.#options.store.deployments.get(id)
      if (cancelRequested) this.#running.get(id)?.controller.abort(new DployError('deployment.cancelled'))
    }
  }

  /** Waits until nothing runs any more. */
  async idle(): Promise<void> {
    while (this.#running.size > 0) await Promise.allSettled([...this.#running.values()].map(({ done }) => done))
  }

  /** Stops where everything stands; the next control plane goes on from there. */
  async stop(): Promise<void> {
    for (const { controller } of this.#running.values()) controller.abort(new Stopping())
    await this.idle()
  }

  /** What has to be approved before it runs; undefined: nothing. To go back, and to converge, nobody waits. */
  async #approvalFor({
    environment,
    kind,
    request,
    requestedBy,
    requester,
  }: Submission): Promise<NewApproval | undefined> {
    const config = environment.config.environments[environment.name]
    if (kind !== 'deploy' || config?.protected !== true) return undefined
    const place = `${environment.application}/${environment.name}`
    if (this.#options.shared.alone)
      throw new DployError('approval.needs_server', `${place} is protected, and here is nobody who could approve`)
    const { artifacts } = this.#options
    if (request.artifact !== null && !(await artifacts.has(request.artifact)))
      throw new DployError('object.missing', `The artifact ${request.artifact.slice(0, 12)} was not uploaded whole`)
    const revision =
      request.artifact !== null
        ? (request.promoted?.revision ?? null)
        : await artifacts.resolve(
            environment.config,
            environment.base,
            request.revision,
            config.branch ?? null,
            AbortSignal.timeout(120_000),
          )
    return { revision, requester: requester ?? requestedBy, expiresAt: Date.now() + approvalTime }
  }

  /** `recovered`: the environment of one that a dead process left behind. */
  #start(id: string, wait: Patience, recovered: string | null = null): void {
    const controller = new AbortController()
    const done = runDeployment(id, this.#options, this.#measure, { wait, signal: controller.signal })
      .catch(async (error: unknown) => {
        const report = reportOf(error)
        if (!(error instanceof Stopping) && report.code !== 'environment.locked') {
          this.#options.log.error({ deployment: id, err: error }, 'a deployment could not be run')
          await this.#options.store.deployments.abandon(id, report, Date.now())
        }
        return (await this.#options.store.deployments.get(id)).state
      })
      .finally(() => this.#running.delete(id))
    this.#running.set(id, { controller, done, recovered })
    void done.then((state) => this.onEnd(id, state)).catch(() => {})
  }

  async #checkFree(environment: Environment, patience: Patience): Promise<void> {
    const lock = this.#options.shared.holder(environment.id) ?? (await this.#options.store.locks.holder(environment.id))
    if (lock === null || lock.expires <= Date.now() || isDeadHolder(lock.holder) || waitsFor(patience, lock)) return
    const seconds = Math.round((Date.now() - lock.since) / 1000)
    throw new DployError(
      'environment.locked',
      `Deployment ${lock.number} by ${lock.requestedBy} holds the lock of ${environment.application}/${environment.name} since ${seconds} s; it is ${lock.state}`,
      { where: lock.holder },
    )
  }
}
