/** What the SDK asks of a retry strategy (the types of @smithy/types, which is no dependency of ours). */
interface RetryToken {
  getRetryCount(): number
  getRetryDelay(): number
}

/** How often a call is tried: AWS asks for patience when it throttles; what cannot be reached is told soon. */
const attempts = { THROTTLING: 9, TRANSIENT: 3, SERVER_ERROR: 4, CLIENT_ERROR: 1 }
/** Milliseconds before the first repetition; doubled each time, with full jitter ("Exponential Backoff And Jitter", AWS Architecture Blog). */
const first = { THROTTLING: 200, TRANSIENT: 100, SERVER_ERROR: 100, CLIENT_ERROR: 0 }
const longest = 15_000

/** When a call to AWS is repeated. `onThrottle` hears of each time that AWS asked for patience. */
export function retries(onThrottle: () => void) {
  return {
    async acquireInitialRetryToken(): Promise<RetryToken> {
      return tokenOf(0, 0)
    },
    async refreshRetryTokenForRetry(
      token: RetryToken,
      failure: { errorType: keyof typeof attempts },
    ): Promise<RetryToken> {
      const count = token.getRetryCount() + 1
      if (failure.errorType === 'THROTTLING') onThrottle()
      if (count >= attempts[failure.errorType]) throw new Error('No more attempts')
      return tokenOf(count, Math.random() * Math.min(longest, first[failure.errorType] * 2 ** count))
    },
    recordSuccess(): void {},
  }
}

function tokenOf(count: number, delay: number): RetryToken {
  return { getRetryCount: () => count, getRetryDelay: () => delay }
}
