import { DployError } from '../../protocol/errors.ts'
import type { Handlers } from './server.ts'

type Names =
  | 'session' | 'signIn' | 'signOut' | 'sessions' | 'signOutEverywhere' | 'changePassword' | 'setUp' | 'acceptInvitation' | 'people' | 'addPerson' | 'invitePerson'
  | 'setGrants' | 'removePerson' | 'tokens' | 'createToken' | 'revokeToken' | 'audit' | 'exportAudit' | 'decide'

/** The contract of people, tokens and audit stands; what is behind it follows. */
export function peopleHandlers(): Pick<Handlers, Names> {
  const missing = async (): Promise<never> => {
    throw new DployError('not_found', 'This part of the API is not built yet')
  }
  return {
    session: missing, signIn: missing, signOut: missing, sessions: missing, signOutEverywhere: missing, changePassword: missing, setUp: missing, acceptInvitation: missing,
    people: missing, addPerson: missing, invitePerson: missing, setGrants: missing, removePerson: missing, tokens: missing, createToken: missing, revokeToken: missing,
    audit: missing, exportAudit: missing, decide: missing,
  }
}
