import type { Receipt, ReceiptServer } from '../../protocol/receipt.ts'

/**
 * The share of servers that could answer: of each server, from the beginning of its drain (where nothing drains: of its
 * switch) until it was put back, healthy; one that failed there is out until the end. `total` in milliseconds. Null
 * without servers.
 */
export function capacityOf(
  servers: readonly Pick<ReceiptServer, 'spans' | 'outcome'>[],
  total: number,
  facts: { drains: boolean; warm: boolean },
): Receipt['capacity'] {
  if (servers.length === 0) return null
  const outs = servers.flatMap((server) => out(server, total, facts))
  const away = outs.reduce((sum, { start, end }) => sum + end - start, 0)
  const most = outs.reduce(
    (worst, { start }) => Math.max(worst, outs.filter((one) => one.start <= start && start < one.end).length),
    0,
  )
  const share = (value: number) => Math.round(Math.max(0, value) * 1000) / 1000
  return { least: share(1 - most / servers.length), mean: share(total > 0 ? 1 - away / (servers.length * total) : 1) }
}

function out(
  { spans, outcome }: Pick<ReceiptServer, 'spans' | 'outcome'>,
  total: number,
  { drains, warm }: { drains: boolean; warm: boolean },
): { start: number; end: number }[] {
  if (warm && outcome === 'switched') return []
  const find = (name: string) => spans.find((span) => span.name === name)
  const start = ((drains ? find('drain') : undefined) ?? find('stop') ?? find('switch'))?.start
  const end = (drains ? find('register') : (find('health') ?? find('activate')))?.end ?? total
  return start === undefined || end <= start ? [] : [{ start, end }]
}
