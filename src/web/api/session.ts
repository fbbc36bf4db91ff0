import { Client } from '../../client/client.ts'
import { DployError } from '../../protocol/errors.ts'
import { connection } from './connection.ts'

/** The token that this tab signed in with. It goes when the tab is closed. */
const key = 'dploy-token'
const watchers = new Set<() => void>()

export const session = {
  get token(): string | null {
    return sessionStorage.getItem(key)
  },
  signIn(token: string): void {
    sessionStorage.setItem(key, token)
    for (const watch of watchers) watch()
  },
  signOut(): void {
    sessionStorage.removeItem(key)
    for (const watch of watchers) watch()
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
    const response = await fetch(input, init)
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
