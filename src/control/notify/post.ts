import { lookup, type LookupAddress, type LookupOptions } from 'node:dns'
import { BlockList, isIP } from 'node:net'
import { Agent, request } from 'undici'
import { Undelivered } from './sender.ts'

/** How long one try may take in all. Milliseconds. */
const timeout = 10_000
/** Longest wait that another end may ask for. Milliseconds. */
const longestWait = 3_600_000

/**
 * Addresses that nobody means: link-local ones, where clouds answer with credentials (169.254.169.254, and fd00:ec2::254 of
 * AWS). Private networks are allowed: chat servers stand there.
 */
const forbidden = new BlockList()
forbidden.addSubnet('169.254.0.0', 16, 'ipv4')
forbidden.addSubnet('fe80::', 10, 'ipv6')
forbidden.addAddress('fd00:ec2::254', 'ipv6')

const agent = new Agent({ connect: { lookup: safeLookup, timeout: 5_000 }, keepAliveTimeout: 1_000 })

export function isForbidden(address: string): boolean {
  const family = isIP(address)
  return family !== 0 && forbidden.check(address, family === 6 ? 'ipv6' : 'ipv4')
}

/**
 * Sends a body by POST, to http(s) alone; redirects are not followed. Throws Undelivered for whatever is not 200 to 299.
 * `accepted` looks at the status and a short answer, and says whether it counts all the same.
 */
export async function post(
  address: string,
  headers: Record<string, string>,
  body: string,
  accepted: (status: number, answer: string) => boolean = () => false,
): Promise<void> {
  const url = URL.canParse(address) ? new URL(address) : null
  if (!url || (url.protocol !== 'http:' && url.protocol !== 'https:'))
    throw new Undelivered('its address is not http or https')
  if (isForbidden(url.hostname.replace(/^\[|\]$/g, '')))
    throw new Undelivered(`${url.hostname} is no address to send to`)
  let status: number
  let answer: string
  let wait: string | undefined
  try {
    const response = await request(url, {
      method: 'POST',
      headers: { 'content-type': 'application/json', 'user-agent': 'dploy', ...headers },
      body,
      dispatcher: agent,
      signal: AbortSignal.timeout(timeout),
      headersTimeout: timeout,
      bodyTimeout: timeout,
    })
    status = response.statusCode
    wait = typeof response.headers['retry-after'] === 'string' ? response.headers['retry-after'] : undefined
    answer = await beginning(response.body)
  } catch (error) {
    throw new Undelivered(`${url.host} cannot be reached: ${causeOf(error)}`)
  }
  if ((status >= 200 && status < 300) || accepted(status, answer)) return
  // Slack says why in a word; longer answers could tell of something that was never meant to be read.
  const word = /^[a-z_]{3,40}$/.test(answer) ? ` (${answer})` : ''
  if (status >= 300 && status < 400)
    throw new Undelivered(`${url.host} answered ${status}, and redirects are not followed`)
  throw new Undelivered(`${url.host} answered ${status}${word}`, status === 410 ? 'gone' : 'later', waitOf(wait))
}

/** At most 2 KB of an answer; the rest is not read. */
async function beginning(body: AsyncIterable<Buffer>): Promise<string> {
  let text = ''
  for await (const chunk of body) {
    text += chunk.toString()
    if (text.length > 2_000) break
  }
  return text.slice(0, 2_000)
}

/** Names are looked up here, so that what was checked is what is connected to. */
function safeLookup(
  hostname: string,
  options: LookupOptions,
  done: (error: NodeJS.ErrnoException | null, address: string | LookupAddress[], family?: number) => void,
): void {
  lookup(hostname, { ...options, all: true }, (error, found) => {
    if (error) return done(error, [])
    const allowed = found.filter(({ address }) => !isForbidden(address))
    if (allowed.length === 0)
      return done(Object.assign(new Error(`${hostname} leads to no address to send to`), { code: 'EACCES' }), [])
    if (options.all) done(null, allowed)
    else done(null, allowed[0]!.address, allowed[0]!.family)
  })
}

function waitOf(header: string | undefined): number | null {
  return header !== undefined && /^\d{1,6}$/.test(header) ? Math.min(Number(header) * 1_000, longestWait) : null
}

function causeOf(error: unknown): string {
  if (error instanceof Error && error.name === 'TimeoutError') return `no answer within ${timeout / 1_000} s`
  const cause =
    error instanceof AggregateError
      ? error.errors[0]
      : error instanceof Error && error.cause instanceof Error
        ? error.cause
        : error
  return cause instanceof Error ? cause.message || (cause as NodeJS.ErrnoException).code || cause.name : String(cause)
}
