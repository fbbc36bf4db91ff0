import type { Receipt } from './receipt.ts'

/** What a receipt says of its users, in a sentence, and of what it says so. */
export interface Verdict {
  /**
   * `unnoticed`: all that was looked at was well. `noticed`: requests failed or stalled. `worse`: the new release fails
   * more often than the one before. `usual`: requests failed, as many as they usually do. `first`: nothing served before.
   * `unmeasured`: nobody looked.
   */
  kind: 'unnoticed' | 'noticed' | 'worse' | 'usual' | 'first' | 'unmeasured'
  sentence: string
}

/** What of a receipt the verdict is made of. */
export type Evidence = Pick<Receipt, 'from' | 'cut'> & {
  traffic: Pick<Receipt['traffic'], 'source' | 'seen' | 'failed' | 'stalled' | 'unserved' | 'balancer' | 'users'>
}

/**
 * The one verdict that terminal, pages, notifications and programs show. It is made of all evidence, the strongest first:
 * the balancer's counters by release, its totals, the probe. "No user noticed" is said only where none of them saw a
 * failure, a repetition or a cut. Pure.
 */
export function verdictOf(evidence: Evidence): Verdict {
  const { traffic, cut, from } = evidence
  const { balancer, users } = traffic
  const probe = traffic.source === 'probe' ? traffic : null
  const cuts = cut.length

  if (users !== null && users.worse !== null)
    return {
      kind: 'worse',
      sentence: `${share(users.new)} of the new release's answers were errors (before: ${share(usualOf(evidence))}): ${of(users.new)} requests`,
    }
  if (probe === null && balancer === null) {
    if (from === null || traffic.unserved > 0)
      return { kind: 'first', sentence: 'First deployment: nothing was serving yet' }
    return { kind: 'unmeasured', sentence: 'Not measured: there is no probe, and the balancer reports no counters' }
  }

  const noticed: string[] = []
  if (balancer !== null) {
    const failed = Math.max(balancer.serverErrors, users === null ? 0 : failedOf(users))
    const again = balancer.retries + balancer.redispatches
    if (failed > 0) noticed.push(`${number(failed)} of ${requests(balancer.requests)} failed at the balancer`)
    if (again > 0) noticed.push(`the balancer tried ${requests(again)} again`)
    const onlyUsual =
      failed > 0 &&
      again === 0 &&
      cuts === 0 &&
      (probe === null || probe.failed + probe.stalled === 0) &&
      users !== null
    if (onlyUsual && isUsual(evidence, failed))
      return {
        kind: 'usual',
        sentence: `No more errors than usual: ${number(failed)} of ${requests(balancer.requests)} failed at the balancer (${share({ requests: balancer.requests, failed })}; before: ${share(usualOf(evidence))})`,
      }
  }
  if (probe !== null && probe.failed + probe.stalled > 0)
    noticed.push(
      `${[some(probe.failed, 'failed'), some(probe.stalled, 'stalled')].filter((text) => text !== '').join(' and ')} of ${requests(probe.seen)} by the probe`,
    )
  if (cuts > 0) noticed.push(`requests were cut on ${cuts === 1 ? cut[0]!.server : `${cuts} servers`}`)
  if (noticed.length > 0) return { kind: 'noticed', sentence: capital(noticed.join('; ')) }

  const looked = [
    ...(balancer === null ? [] : [`${requests(balancer.requests)} at the balancer`]),
    ...(probe === null
      ? []
      : [balancer === null ? `${requests(probe.seen)} by the probe` : `${number(probe.seen)} by the probe`]),
  ]
  const counted = balancer === null ? '' : balancer.restarted ? ' (at least: it was restarted)' : ''
  if (balancer === null)
    return { kind: 'unnoticed', sentence: `The probe noticed nothing: ${looked[0]}. Users' requests were not counted` }
  return { kind: 'unnoticed', sentence: `No user noticed: ${looked.join(', ')}${counted}` }
}

/** The application's share of errors where the release was not: at old servers meanwhile, where these had enough requests to tell, else before. */
function usualOf({ traffic: { users } }: Evidence): { requests: number; failed: number } {
  if (users === null) return { requests: 0, failed: 0 }
  return users.old.requests >= 100 ? users.old : users.before.requests > 0 ? users.before : users.old
}

/** Whether so many failures are no news: the release before fails as well, and nothing failed in the middle of a switch. */
function isUsual(evidence: Evidence, failed: number): boolean {
  const users = evidence.traffic.users!
  const usual = usualOf(evidence)
  // What no server is blamed for is the balancer's own answer: there was none that could take it. The two counts are read
  // one after the other, so that they differ by what came in between.
  const unexplained = failed - users.old.failed - users.new.failed
  return unexplained <= Math.max(1, failed * 0.02) && usual.failed > 0 && usual.requests >= 100
}

function failedOf(users: NonNullable<Evidence['traffic']['users']>): number {
  return users.old.failed + users.new.failed + users.switching.failed
}

function share({ requests, failed }: { requests: number; failed: number }): string {
  return requests === 0 ? 'unknown' : `${((failed / requests) * 100).toFixed(1)} %`
}

function of({ requests: all, failed }: { requests: number; failed: number }): string {
  return `${number(failed)} of ${number(all)}`
}

function some(count: number, what: string): string {
  return count === 0 ? '' : `${number(count)} ${what}`
}

function requests(count: number): string {
  return `${number(count)} ${count === 1 ? 'request' : 'requests'}`
}

function capital(text: string): string {
  return text.slice(0, 1).toUpperCase() + text.slice(1)
}

/** With a comma between thousands, whatever the locale. */
function number(value: number): string {
  return String(value).replaceAll(/\B(?=(\d{3})+$)/g, ',')
}
