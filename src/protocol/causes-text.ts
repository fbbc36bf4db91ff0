import { styleText } from 'node:util'
import { causeTable } from './causes.ts'
import { formatDuration } from './duration.ts'
import type { Cause, Receipt } from './receipt.ts'
import { fit, flow } from './terminal.ts'

const namedServers = 6

/**
 * Why users noticed a deployment, or what made it slow, as lines of at most `width` columns: each cause with what says
 * so, and for the weightiest what to change. Lines to paste are never cut. Empty without causes. Pure.
 */
export function causeLines(receipt: Receipt, options: { width: number; color: boolean }): string[] {
  const width = Math.max(40, Math.floor(options.width))
  const bold = (text: string) => (options.color ? styleText('bold', text, { validateStream: false }) : text)
  const lines: string[] = []
  for (const cause of receipt.causes) {
    const { title, meaning } = causeTable[cause.id]
    lines.push(...flow([bold(title), ...figures(cause)], ' · ', width), ...wrapped(meaning, width - 2, '  '), ...cause.evidence.map((one) => fit(`  - ${one}`, width)), '')
  }
  const [first] = receipt.causes
  if (!first) return []
  const { suggestion } = first
  const place = { 'dploy.yml': 'dploy.yml', balancer: "the balancer's configuration", application: 'the application' }[suggestion.where]
  return [...lines, ...wrapped(`What to do: ${suggestion.text}. In ${place}:`, width, ''), '', ...suggestion.lines.map((line) => `    ${line}`)]
}

function figures(cause: Cause): string[] {
  const { servers, requests, ms } = cause
  const more = servers.length - namedServers
  return [
    ...(requests > 0 ? [`${requests} ${requests === 1 ? 'request' : 'requests'}`] : []),
    ...(ms !== null && ms > 0 ? [`${formatDuration(ms)} of the deployment`] : []),
    ...(servers.length > 0 ? [servers.slice(0, namedServers).join(', ') + (more > 0 ? ` and ${more} more` : '')] : []),
    ...(cause.step === null ? [] : [`in ${cause.step.replaceAll('_', ' ')}`]),
  ]
}

function wrapped(text: string, width: number, indent: string): string[] {
  return flow(text.split(' '), ' ', width).map((line) => indent + line)
}
