import { Client } from '../../client/client.ts'
import type { Session } from '../../protocol/api/session.ts'
import { DployError } from '../../protocol/errors.ts'
import { readClock } from './clock.ts'
import { connection } from './connection.ts'

/** The token that this tab signed in with, instead of the cookie that no script can read. It goes when the tab is closed. */
const key = 'dploy-token'
const watchers = new Set<() => void>()
let who: Session | null | undefined

function become(next: Session | null): void {
  who = next
  for (const watch of watchers) watch()
}

export const session = {
  get token(): string | null {
    return sessionStorage.getItem(key)
  },
  /** Who is signed in, and what they may do; null: nobody; undefined: the control plane has not said yet. */
  get who(): Session | null | undefined {
    return who
  },
  /** Asks the control plane who is signed in. */
  async look(tries = 5): Promise<void> {
    try {
      const found = await client().call('session')
      become(found.kind === null ? null : found)
    } catch (error) {
      if (isSignedOut(error)) return session.ended()
      if (who !== undefined) return
      // Nothing is shown yet. A network that changes in this moment is there again in the next.
      if (tries === 1) return become(null)
      await new Promise((resolve) => setTimeout(resolve, 500))
      await session.look(tries - 1)
    }
  },
  signedIn(found: Session, token: string | null): void {
    if (token === null) sessionStorage.removeItem(key)
    else sessionStorage.setItem(key, token)
    become(found)
  },
  signOut(): void {
    void client()
      .call('signOut')
      .catch(() => {})
    session.ended()
  },
  /** Nobody is signed in any more: the session or token ended by itself. */
  ended(): void {
    sessionStorage.removeItem(key)
    become(null)
  },
  subscribe(watch: () => void): () => void {
    watchers.add(watch)
    return () => watchers.delete(watch)
  },
}

/** The API, as whoever is signed in. What it answers also tells whether the control plane is there. */
export function client(token: string | null = session.token): Client {
  return new Client({ url: location.origin, token: token ?? undefined, fetch: watchedFetch })
}

async function watchedFetch(input: RequestInfo | URL, init?: RequestInit): Promise<Response> {
  try {
    const asked = Date.now()
    const response = await fetch(input, init)
    readClock(response, asked)
    connection.found()
    return response
  } catch (error) {
    if (init?.signal?.aborted !== true) connection.lost()
    throw error
  }
}

/** Whether an error says that nobody is signed in any more. */
export function isSignedOut(error: unknown): boolean {
  return error instanceof DployError && error.code === 'unauthorized'
}
