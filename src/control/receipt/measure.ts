import type { TrafficCounters } from '../../balancers/contract.ts'
import type { Run } from '../deploy/run/run.ts'
import type { Measure } from '../deploy/run/runner.ts'
import type { DeploymentFacts } from './causes.ts'
import { LoggedTrouble } from './logged.ts'
import { phasesOf } from './phases.ts'
import { startProber } from './prober.ts'
import { makeReceipt } from './receipt.ts'
import { UserTraffic } from './user-traffic.ts'

/** How long the balancer has to tell its counters. Milliseconds. */
const countersTimeout = 2_000

/**
 * Measures a deployment: asks through the balancer while it runs, reads the balancer's counters before and after, and
 * makes the receipt of it when it is over. What cannot be measured never stands in a deployment's way.
 */
export const measure: Measure = {
  async start(run) {
    const { probe } = run.environment
    const prober = probe
      ? startProber({
          url: probe.url,
          post: probe.post,
          interval: probe.interval,
          first: run.from === null,
          onCounts: (counts) => run.event(null, { kind: 'traffic', ...counts }),
        })
      : null
    const logged = probe ? new LoggedTrouble(probe) : null
    const following = logged === null ? null : await follow(run, logged)
    const users = UserTraffic.start(
      run.balancer,
      run.servers.map(({ name }) => name),
      () => run.startedAt,
    )
    run.users = users
    const before = await counters(run)
    return {
      async finish() {
        // At the same moment, so that they agree; the probe ends meanwhile.
        const [counted, after, samples] = await Promise.all([
          users?.finish() ?? null,
          counters(run),
          prober?.stop() ?? [],
        ])
        await following?.[Symbol.asyncDispose]()
        const failure = prober?.failure()
        if (failure) run.note(null, `the probe ended early: ${failure.message}`)
        await run.store.events.flush()
        const deployment = await run.store.deployments.present(run.id)
        const startedAt = deployment.startedAt ?? deployment.createdAt
        const finishedAt = deployment.finishedAt ?? Date.now()
        const receipt = makeReceipt({
          deployment: {
            id: run.id,
            number: run.number,
            kind: deployment.kind,
            from: deployment.from,
            to: deployment.release,
            state: run.state as 'succeeded' | 'rolled_back' | 'failed' | 'cancelled',
            startedAt,
            finishedAt,
          },
          phases: phasesOf(await run.store.events.states(run.id), startedAt, finishedAt),
          spans: run.spans,
          servers: deployment.steps.map((step) => ({ ...step, roundTripMs: run.roundTrips.get(step.server) })),
          samples,
          logged: logged?.requests ?? [],
          counters: { before, after },
          users: counted,
          facts: factsOf(run),
          out: run.out,
        })
        await run.store.deployments.saveReceipt(run.id, receipt, Date.now())
      },
      async [Symbol.asyncDispose]() {
        await users?.[Symbol.asyncDispose]()
        await prober?.[Symbol.asyncDispose]()
        await following?.[Symbol.asyncDispose]()
      },
    }
  },
}

function factsOf(run: Run): Omit<DeploymentFacts, 'restarted' | 'failedAt'> {
  const { environment, row } = run
  const spec = run.release?.spec
  const hooks = Object.entries(spec?.hooks ?? {}).flatMap(([name, hook]) => (hook ? [[name, hook.command]] : []))
  return {
    balancer: run.balancer.kind,
    reloads: run.balancer.capabilities.reloads,
    remedies: run.balancer.remedies ?? {},
    drains: run.balancer.capabilities.drains,
    warm: row.plan?.warm === true,
    idle: row.plan?.groups?.enter ?? [],
    drainTimeout: environment.timeouts.drain,
    // The old processes are ended as their own release says, or as the new one does where there is none before.
    stopTimeout: (run.from ?? run.release)?.spec.service?.stop.timeout ?? Number.POSITIVE_INFINITY,
    cut: run.cut,
    retired: run.retired,
    environment: run.environmentName,
    probePath: environment.probe === undefined ? '/' : new URL(environment.probe.url).pathname,
    hooks: Object.fromEntries(hooks),
  }
}

/** What cannot be read is told where it matters, by the plan's warnings. */
async function follow(run: Run, logged: LoggedTrouble): Promise<AsyncDisposable | null> {
  return (await run.balancer.follow?.((request) => logged.add(request)).catch(() => null)) ?? null
}

async function counters(run: Run): Promise<TrafficCounters | null> {
  if (!run.balancer.capabilities.counts) return null
  try {
    return await run.balancer.counters(AbortSignal.timeout(countersTimeout))
  } catch (error) {
    run.note(null, `the balancer's counters cannot be read: ${(error as Error).message}`)
    return null
  }
}
