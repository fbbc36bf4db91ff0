import type { DeploymentEvent } from '../../protocol/deployment.ts'
import { formatDuration } from '../../protocol/duration.ts'

/**
 * An event as a line for logs and pipes, with the seconds since the deployment began; null for what a log need not say.
 * `began` in epoch milliseconds.
 */
export function plainLine(event: DeploymentEvent, began: number): string | null {
  const at = `${((event.at - began) / 1000).toFixed(2).padStart(7)}  `
  const who = event.server === null ? '' : `${event.server}: `
  const { data } = event
  switch (data.kind) {
    case 'state':
      return `${at}${data.state.replaceAll('_', ' ')}${data.failure ? `: ${data.failure.where === undefined ? '' : `${data.failure.where}: `}${data.failure.message}\n${' '.repeat(9)}next: ${data.failure.fix}\n${' '.repeat(9)}(${data.failure.code})` : ''}`
    case 'step':
      return `${at}${who}${data.state}${data.failure ? `: ${data.failure.message}` : ''}`
    case 'progress':
      return event.server === null ? `${at}${data.phase}` : null
    case 'note':
      return `${at}${who}${data.text}`
    case 'output':
      return data.text
        .trimEnd()
        .split('\n')
        .map((line) => `${at}${who}${data.source}| ${line}`)
        .join('\n')
    case 'waiting':
      return data.waiting === null
        ? `${at}goes on: ${data.by}`
        : `${at}waits for a person: ${data.waiting.text}\n${' '.repeat(9)}next: dploy promote   (or back: dploy abort)`
    case 'plan': {
      const { batches, unchanged, unreachable, warnings } = data.plan
      const count = batches.flat().length
      const lines = [
        `${at}plan: ${count} ${count === 1 ? 'server' : 'servers'} in ${batches.length} ${batches.length === 1 ? 'batch' : 'batches'}${unchanged.length > 0 ? `, ${unchanged.length} unchanged` : ''}${unreachable.length > 0 ? `, ${unreachable.length} out of reach` : ''}${data.plan.bake > 0 ? `, bake ${formatDuration(data.plan.bake)}` : ''}`,
      ]
      return [...lines, ...warnings.map((warning) => `${at}warning: ${warning}`)].join('\n')
    }
    case 'traffic':
    case 'receipt':
      return null
    default:
      data satisfies never
      return null
  }
}
