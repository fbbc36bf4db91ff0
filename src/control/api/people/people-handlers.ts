import type { Grant } from '../../../protocol/api/access.ts'
import type { GrantRow } from '../../store/people.ts'
import type { ApiContext } from '../context.ts'
import type { Call, Handlers } from '../server.ts'

type Names = 'people' | 'addPerson' | 'invitePerson' | 'setGrants' | 'removePerson'

/** How long an invitation can be accepted. Milliseconds. */
const invitationTime = 3 * 24 * 3_600_000

/** What the routes of people and their roles do. */
export function peopleHandlers(context: ApiContext): Pick<Handlers, Names> {
  const { store } = context
  const rowsOf = (grants: readonly Grant[]): Promise<GrantRow[]> =>
    Promise.all(
      grants.map(async ({ role, place }) => ({
        role,
        environment:
          place === null ? null : (await store.applications.environment(place.application, place.environment)).id,
      })),
    )
  const invite = async (person: string, { caller, request }: Call<'addPerson'> | Call<'invitePerson'>) => {
    const expiresAt = Date.now() + invitationTime
    const token = await store.links.create('invitation', person, expiresAt)
    const pages = caller.kind === 'local' ? (context.address.url ?? '') : `${request.protocol}://${request.host}`
    return { link: `${pages}/invitation#${token}`, token, expiresAt }
  }
  const present = async (id: string) => (await store.people.present(id))[0]!

  return {
    people: async () => ({ people: await store.people.present() }),

    async addPerson(call) {
      const { body, tell } = call
      const id = await store.people.add(
        { email: body.email, name: body.name, grants: await rowsOf(body.grants) },
        Date.now(),
      )
      const person = await present(id)
      tell({ subject: person.email, after: { name: person.name, grants: person.grants } })
      return { person, ...(await invite(id, call)) }
    },

    async invitePerson(call) {
      const { params, tell } = call
      const person = await store.people.get(params.person)
      const sessions = await store.sessions.endAll(person.id)
      const invitation = await invite(person.id, call)
      tell({ subject: person.email, before: { sessions }, after: { sessions: 0, invitedUntil: invitation.expiresAt } })
      return invitation
    },

    async setGrants({ params, body, tell }) {
      const person = await store.people.get(params.person)
      const before = (await present(person.id)).grants
      tell({ subject: person.email, before, after: body.grants })
      await store.people.setGrants(person.id, await rowsOf(body.grants))
      return present(person.id)
    },

    async removePerson({ params, tell }) {
      const person = await store.people.get(params.person)
      tell({
        subject: person.email,
        before: { name: person.name, grants: (await present(person.id)).grants },
        after: null,
      })
      await store.people.remove(person.id)
      return {}
    },
  }
}
