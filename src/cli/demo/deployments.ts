import type { Client } from '../../client/client.ts'
import type { Deployment } from '../../protocol/deployment.ts'
import { DployError } from '../../protocol/errors.ts'
import type { Output } from '../output.ts'
import type { Progress } from '../view/progress.ts'
import { deploymentResult, watchDeployment } from '../view/watch-deployment.ts'

/** What the demo deploys with. */
export interface Deploying {
  client: Client
  params: { application: string; environment: string }
  output: Output
  signal: AbortSignal
}

/** A deployment of the demo that is over. */
export interface Done {
  deployment: Deployment
  progress: Progress
}

/** Deploys a revision, by default the environment's, and shows it. What came of it is for `conclude`. */
export async function deploy(
  { client, params, output, signal }: Deploying,
  revision: string | undefined,
): Promise<Done> {
  signal.throwIfAborted()
  const deployment = await client.call('deploy', {
    params,
    body: { ...(revision === undefined ? {} : { revision }), requestedBy: 'dploy demo' },
  })
  return { deployment, progress: await watchDeployment(client, deployment, output, signal, { result: false }) }
}

/** Prints what came of a deployment, with what the users saw. Throws what it failed with. */
export function conclude(
  { deployment, progress }: Done,
  output: Output,
  users?: { sent: number; failed: number },
): void {
  if (progress.state !== 'succeeded')
    throw DployError.from(
      progress.failure ?? { code: 'internal', message: `The deployment is ${progress.state}`, fix: '' },
    )
  if (output.mode === 'json')
    output.result({
      ...deploymentResult(progress, deployment),
      ...(users && { users, ...(users.failed > 0 && { state: 'failed' }) }),
    })
}

/**
 * Deploys the first of two revisions, or the second where the first does not run, as many a first commit does not: that is no
 * reason to show nothing. Answers which one runs.
 */
export async function deployFirst(
  demo: Deploying,
  first: string | undefined,
  second: string | undefined,
): Promise<string | undefined> {
  const done = await deploy(demo, first)
  if (done.progress.state === 'succeeded' || first === second) {
    conclude(done, demo.output)
    return first
  }
  if (demo.output.mode !== 'json')
    demo.output.line('\nThe commit before the newest one does not run; the newest is deployed.\n')
  conclude(await deploy(demo, second), demo.output)
  return second
}
