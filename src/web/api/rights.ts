import { useSyncExternalStore } from 'react'
import { mayAt, type Place, type Right } from '../../protocol/api/access.ts'
import type { Session } from '../../protocol/api/session.ts'
import { session } from './session.ts'

/** Who is signed in. */
export function useWho(): Session | null {
  return useSyncExternalStore(session.subscribe, () => session.who) ?? null
}

/** Whether who is signed in has a right at a place (null: everywhere), so that pages show nothing that would be refused. The API decides. */
export function useMay(right: Right, place: Place | null): boolean {
  const who = useWho()
  return who !== null && mayAt(who.rights, right, place)
}
