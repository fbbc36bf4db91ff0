import type { ReleaseReadiness } from '../../protocol/api/environments.ts'
import { formatBytes } from '../../protocol/bytes.ts'

/** Of one release; null where that is not known (yet). */
export function readinessOf(
  all: { releases: readonly ReleaseReadiness[] } | undefined,
  release: number,
): ReleaseReadiness | null {
  return all?.releases.find(({ number }) => number === release) ?? null
}

/** `web3 lacks 38 KB`; `web3 and 4 more lack up to 38 KB`. */
export function lackText({ lacking, lackingServers }: ReleaseReadiness): string {
  const names = lackingServers === 1 ? lacking[0]!.server : `${lacking[0]!.server} and ${lackingServers - 1} more`
  const bytes = mostBytes(lacking)
  const what =
    bytes === null
      ? 'files'
      : bytes === 0
        ? 'no file, only its tree'
        : `${lackingServers > 1 ? 'up to ' : ''}${formatBytes(bytes)}`
  return `${names} ${lackingServers === 1 ? 'lacks' : 'lack'} ${what}`
}

/** What going to a release sends, and when: a sentence for whoever is about to. */
export function sendText(readiness: ReleaseReadiness | null, release: number): string {
  if (readiness === null)
    return `Servers that keep release ${release} get no file; the others get those they lack, before anything switches.`
  const { ready, lacking, lackingServers } = readiness
  if (lackingServers === 0)
    return `${ready === 1 ? 'Its server keeps' : `All ${ready} servers keep`} release ${release}: nothing is sent.`
  const bytes = mostBytes(lacking)
  const one = lackingServers === 1
  const who = `${one ? `${lacking[0]!.server} does` : `${lackingServers} servers do`} not keep release ${release}, and ${one ? 'is' : 'are'}`
  if (bytes === 0)
    return `${who} sent no file, but ${one ? 'makes' : 'make'} its tree anew first, before anything switches.`
  return `${who} sent ${bytes === null ? 'its files' : `${one ? '' : 'up to '}${formatBytes(bytes)}`} first, before anything switches.`
}

function mostBytes(lacking: ReleaseReadiness['lacking']): number | null {
  return lacking.some(({ bytes }) => bytes === null) ? null : Math.max(0, ...lacking.map(({ bytes }) => bytes!))
}
