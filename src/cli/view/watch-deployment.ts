import type { Client } from '../../client/client.ts'
import type { Deployment, DeploymentState } from '../../protocol/deployment.ts'
import { resultOf, type Output, type Result } from '../output.ts'
import { plainLine } from './plain.ts'
import { newProgress, takeEvent, type Progress } from './progress.ts'

interface WatchOptions {
  onState?: (state: DeploymentState) => void
  /** False: whoever asks prints the last line of --json. */
  result?: boolean
}

/** Shows a deployment until it is over: live on a terminal, as lines in a pipe, as JSON with --json. */
export async function watchDeployment(
  client: Client,
  deployment: Deployment,
  output: Output,
  signal?: AbortSignal,
  options: WatchOptions = {},
): Promise<Progress> {
  const progress = newProgress()
  const title = `Deployment ${deployment.number} · ${deployment.application} → ${deployment.environment}`
  // What measures text in columns takes 50 ms to load; a program that reads --json needs none of it.
  await using live = output.mode === 'live' ? (await import('./screen.ts')).startLive(output, progress, title) : null
  if (output.mode === 'plain') output.line(title)
  for await (const event of client.stream(
    'deploymentEvents',
    { params: { number: deployment.number }, query: {} },
    { signal },
  )) {
    takeEvent(progress, event)
    options.onState?.(progress.state)
    if (output.mode === 'json') output.json({ type: 'event', ...event })
    else if (output.mode === 'plain') {
      const line = plainLine(event, progress.began!)
      if (line !== null) output.line(line)
    }
    live?.changed()
  }
  live?.finish()
  if (progress.receipt && output.mode !== 'json') {
    const { receiptLines } = await import('../../protocol/receipt-text.ts')
    for (const line of receiptLines(progress.receipt, { width: output.width(), color: output.color })) output.line(line)
  }
  if (output.mode === 'json' && options.result !== false) output.json(deploymentResult(progress, deployment))
  return progress
}

/** The last line of --json for a deployment. */
export function deploymentResult(progress: Progress, deployment: Deployment): Result & Record<string, unknown> {
  const seconds =
    progress.receipt?.seconds ??
    (progress.began !== null && progress.ended !== null ? (progress.ended - progress.began) / 1000 : 0)
  return {
    ...resultOf({
      state: progress.state === 'succeeded' || progress.state === 'rolled_back' ? progress.state : 'failed',
      seconds,
      failure: progress.failure,
      receipt: progress.receipt,
    }),
    application: deployment.application,
    environment: deployment.environment,
    deployment: deployment.number,
    servers: progress.servers.size,
  }
}
