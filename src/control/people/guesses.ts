import { isIPv6 } from 'node:net'
import { DployError } from '../../protocol/errors.ts'

/** How often may be guessed at once; from then on each try has to wait twice as long as the one before, up to `longest`. Milliseconds. */
interface Patience {
  free: number
  longest: number
}
/** Kept short: otherwise anybody could keep a person out by guessing at their account. 1,440 guesses a day find no password of 12 characters. */
const ofAccount: Patience = { free: 5, longest: 60_000 }
const ofAddress: Patience = { free: 20, longest: 15 * 60_000 }
/** After so long without a failure nothing is held against anybody. Milliseconds. */
const forgetAfter = 3_600_000
const most = 50_000

interface Tries {
  failed: number
  last: number
}

/**
 * Slows down who guesses passwords, by account and by address. It is in memory on purpose: a restart of the control plane
 * is nothing a guesser can cause, and a database write for every guess would be one more thing to exhaust.
 */
export class Guesses {
  readonly #accounts = new Map<string, Tries>()
  readonly #addresses = new Map<string, Tries>()

  /** How long the next try has to wait. Milliseconds. */
  wait(account: string, address: string, now: number): number {
    return Math.max(
      waitOf(this.#accounts.get(account), ofAccount, now),
      waitOf(this.#addresses.get(networkOf(address)), ofAddress, now),
    )
  }

  /**
   * Counts a try as a failure before it is judged, so that many at once count too, and answers what takes it back.
   * `account` is whatever was typed, in lower case, known or not. Throws `sign_in.too_many`, naming the seconds to wait.
   */
  begin(account: string, address: string, now: number): { succeeded(): void } {
    const wait = this.wait(account, address, now)
    if (wait > 0)
      throw new DployError(
        'sign_in.too_many',
        `There were too many tries; the next one counts in ${Math.ceil(wait / 1_000)} s`,
        { fix: `Wait ${Math.ceil(wait / 1_000)} s, then try again` },
      )
    count(this.#accounts, account, now)
    const tries = count(this.#addresses, networkOf(address), now)
    return {
      succeeded: () => {
        this.#accounts.delete(account)
        // Only this try: who has one account must not get free guesses at others.
        tries.failed--
      },
    }
  }
}

function waitOf(tries: Tries | undefined, { free, longest }: Patience, now: number): number {
  if (!tries || tries.failed < free || now - tries.last >= forgetAfter) return 0
  return Math.max(0, tries.last + Math.min(longest, 1_000 * 2 ** Math.min(tries.failed - free, 30)) - now)
}

function count(all: Map<string, Tries>, key: string, now: number): Tries {
  const before = all.get(key)
  const tries = before && now - before.last < forgetAfter ? before : { failed: 0, last: now }
  tries.failed++
  tries.last = now
  // Put at the end: the first is the one that was longest quiet.
  all.delete(key)
  all.set(key, tries)
  if (all.size > most) all.delete(all.keys().next().value!)
  return tries
}

/** An IPv6 customer has a /64 network at least (RFC 6177): one address in it is as good as another. */
function networkOf(address: string): string {
  if (!isIPv6(address) || address.startsWith('::ffff:')) return address
  const [head = '', tail] = address.split('::')
  const left = head.split(':').filter(Boolean)
  const right = tail === undefined ? [] : tail.split(':').filter(Boolean)
  return [...left, ...Array.from({ length: Math.max(0, 8 - left.length - right.length) }, () => '0'), ...right]
    .slice(0, 4)
    .join(':')
}
