import type { FastifyInstance } from 'fastify'
import { DployError } from '../../../protocol/errors.ts'
import type { Route } from '../../../protocol/api/route.ts'
import type { RouteName } from '../../../protocol/api/contract.ts'

const kilobyte = 1024
const megabyte = 1024 * kilobyte

/** What anybody may send without being known: a password, a link, a public key. Bytes. */
const strangers = 16 * kilobyte
/** What a known caller sends: names, values of secrets, lines to run. Bytes. */
const usual = megabyte
/** What GitHub sends at most (docs.github.com, webhook payload cap). Bytes. */
const signed = 25 * megabyte
/** Calls whose bodies are files: a dploy.yml, and the manifest of an artifact with many files. Bytes. */
const large: Partial<Record<RouteName, number>> = { apply: 4 * megabyte, offerArtifact: 64 * megabyte }

/** JSON is nested at most so deep: no call needs more, and what nests by the million takes the only thread for seconds. */
const deepest = 64

/** How many bytes of body a call takes; what is longer is refused while it comes. */
export function bodyLimitOf(name: RouteName, route: Route): number {
  if (route.stream === 'bytes') return signed
  return large[name] ?? (route.access === 'open' ? strangers : usual)
}

/** Reads JSON as Fastify does, but refuses what nests too deep before it is parsed. */
export function readShallowJson(server: FastifyInstance): void {
  const parse = server.getDefaultJsonParser('error', 'error')
  server.removeContentTypeParser('application/json')
  server.addContentTypeParser('application/json', { parseAs: 'string' }, (request, body, done) => {
    if (isTooDeep(body as string, deepest))
      return done(new DployError('request.invalid', `The body nests deeper than ${deepest} levels`), undefined)
    parse(request, body as string, done)
  })
}

/** Whether brackets outside of strings nest deeper than `most`. Reads until they do, in one pass. */
export function isTooDeep(text: string, most: number): boolean {
  let depth = 0
  let quoted = false
  for (let index = 0; index < text.length; index++) {
    const code = text.charCodeAt(index)
    if (quoted) {
      if (code === 0x5c) index++
      else if (code === 0x22) quoted = false
    } else if (code === 0x22) quoted = true
    else if (code === 0x5b || code === 0x7b) {
      if (++depth > most) return true
    } else if (code === 0x5d || code === 0x7d) depth--
  }
  return false
}
