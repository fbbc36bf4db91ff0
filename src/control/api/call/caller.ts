import { Rights } from '../../people/rights.ts'

/** Who asks: known before a handler runs. */
export interface Caller {
  /** `local`: this machine's user over the unix socket. `anyone`: nobody that is known. */
  kind: 'person' | 'token' | 'local' | 'anyone'
  /** As it is written into deployments and the audit log. */
  name: string
  /** The same for the same somebody, however they ask: a person's id, also for their tokens. */
  identity: string
  /** Id of the person, also for their tokens. */
  person: string | null
  email: string | null
  /** Address; empty over the unix socket. */
  address: string
  rights: Rights
  /** The session whose cookie came along. */
  session: { id: string } | null
  /** Id of the token that came along. */
  token: string | null
  /** When session or token ends; null: never. Epoch milliseconds. */
  expiresAt: number | null
}

export const localCaller: Caller = {
  kind: 'local',
  name: 'local',
  identity: 'local',
  person: null,
  email: null,
  address: '',
  rights: Rights.all,
  session: null,
  token: null,
  expiresAt: null,
}

export function anyone(address: string): Caller {
  return {
    kind: 'anyone',
    name: 'anyone',
    identity: 'anyone',
    person: null,
    email: null,
    address,
    rights: Rights.none,
    session: null,
    token: null,
    expiresAt: null,
  }
}
