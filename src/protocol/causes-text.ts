import { styleText } from 'node:util'
import { causeFigures } from './cause-figures.ts'
import { causeTable } from './causes.ts'
import type { Receipt } from './receipt.ts'
import { fit, flow } from './terminal.ts'

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
    lines.push(
      ...flow([bold(title), ...causeFigures(cause)], ' · ', width),
      ...wrapped(meaning, width - 2, '  '),
      ...cause.evidence.map((one) => fit(`  - ${one}`, width)),
      '',
    )
  }
  const [first] = receipt.causes
  if (!first) return []
  const { suggestion } = first
  const place = { 'dploy.yml': 'dploy.yml', balancer: "the balancer's configuration", application: 'the application' }[
    suggestion.where
  ]
  return [
    ...lines,
    ...wrapped(`What to do: ${suggestion.text}. In ${place}:`, width, ''),
    '',
    ...suggestion.lines.map((line) => `    ${line}`),
  ]
}

function wrapped(text: string, width: number, indent: string): string[] {
  return flow(text.split(' '), ' ', width).map((line) => indent + line)
}
