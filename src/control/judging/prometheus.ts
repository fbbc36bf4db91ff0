import * as z from 'zod'

/** How long Prometheus has to answer a query, and how much it may answer. Milliseconds, bytes. */
const answerTimeout = 5_000
const longestAnswer = 1024 * 1024

const sample = z.tuple([z.number(), z.string()])
const answerSchema = z.union([
  z.object({
    status: z.literal('success'),
    data: z.union([
      z.object({ resultType: z.literal('vector'), result: z.array(z.object({ value: sample })) }),
      z.object({ resultType: z.literal('scalar'), result: sample }),
    ]),
  }),
  z.object({ status: z.literal('error'), error: z.string() }),
])

/** Why a query has no number, in words. */
export class NoAnswer extends Error {}

/**
 * A query's value now (Prometheus' HTTP API, "Instant queries": POST /api/v1/query); null: nothing matches it, or it is no
 * number (0 divided by 0). Throws NoAnswer, also where more than one series matches.
 */
export async function instantQuery(url: string, query: string, signal: AbortSignal): Promise<number | null> {
  const address = new URL(`${url.replace(/\/+$/, '')}/api/v1/query`)
  const within = AbortSignal.any([signal, AbortSignal.timeout(answerTimeout)])
  let text: string
  try {
    const response = await fetch(address, {
      method: 'POST',
      body: new URLSearchParams({ query, timeout: `${answerTimeout / 1000}s` }),
      redirect: 'error',
      signal: within,
    })
    text = await limited(response)
    if (!response.headers.get('content-type')?.includes('json'))
      throw new NoAnswer(`status ${response.status}, and no JSON`)
  } catch (error) {
    signal.throwIfAborted()
    if (error instanceof NoAnswer) throw error
    throw new NoAnswer(
      within.aborted
        ? `no answer within ${answerTimeout / 1000} s`
        : ((error as { cause?: Error }).cause?.message ?? (error as Error).message),
    )
  }
  return valueOf(text)
}

/** The one number in an answer. */
export function valueOf(text: string): number | null {
  let json: unknown
  try {
    json = JSON.parse(text)
  } catch {
    throw new NoAnswer('its answer is cut off')
  }
  const parsed = answerSchema.safeParse(json)
  if (!parsed.success) throw new NoAnswer('its answer is not that of an instant query with numbers')
  const answer = parsed.data
  if (answer.status === 'error') throw new NoAnswer(answer.error.slice(0, 300))
  if (answer.data.resultType === 'vector' && answer.data.result.length > 1)
    throw new NoAnswer(`it gives ${answer.data.result.length} series, and one number is needed: put sum(…) around it`)
  const found = answer.data.resultType === 'scalar' ? answer.data.result : answer.data.result[0]?.value
  const value = found === undefined ? Number.NaN : Number(found[1])
  return Number.isFinite(value) ? value : null
}

/**
 * The query for some servers: `{servers}` becomes a regular expression (RE2, in a PromQL string) of their names, and
 * `{addresses}` one of their hosts, each in brackets, so that `instance=~"{addresses}:9100"` means what it says.
 */
export function filled(query: string, servers: readonly { name: string; address: string | null }[]): string {
  const any = (words: readonly string[]) =>
    `(?:${words.map((word) => word.replaceAll(/[^A-Za-z0-9_]/g, (special) => `\\\\${special}`)).join('|')})`
  return query
    .replaceAll('{servers}', any(servers.map(({ name }) => name)))
    .replaceAll('{addresses}', any(servers.map(({ name, address }) => hostOf(address ?? name))))
}

/** Of `user@host:port`. */
function hostOf(address: string): string {
  return address
    .replace(/^.*@/, '')
    .replace(/^\[(.*)\](:\d+)?$/, '$1')
    .replace(/^([^:]+):\d+$/, '$1')
}

async function limited(response: Response): Promise<string> {
  const chunks: Uint8Array[] = []
  let length = 0
  for await (const chunk of response.body ?? []) {
    length += chunk.length
    if (length > longestAnswer) throw new NoAnswer('its answer is too long')
    chunks.push(chunk)
  }
  return Buffer.concat(chunks).toString('utf8')
}
