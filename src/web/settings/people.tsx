import { useMutation, useQuery, useQueryClient } from '@tanstack/react-query'
import { useState } from 'react'
import type { Role } from '../../protocol/api/access.ts'
import type { Person } from '../../protocol/api/people.ts'
import { queries } from '../api/queries.ts'
import { useWho } from '../api/rights.ts'
import { client } from '../api/session.ts'
import { CommandLine } from '../components/command-line.tsx'
import { Confirm } from '../components/confirm.tsx'
import { Icon } from '../components/icon.tsx'
import { Skeleton } from '../components/empty.tsx'
import { Problem } from '../components/problem.tsx'
import { State } from '../components/state.tsx'
import { Ago } from '../components/time.tsx'
import { sayProblem } from '../components/toasts.tsx'
import { useTitle } from '../shell/use-title.ts'
import { Once } from './once.tsx'
import { PlaceChoice, placeFrom, placeWords } from './place-choice.tsx'

const roles: Record<Role, string> = {
  viewer: 'Viewer: looks',
  deployer: 'Deployer: deploys and rolls back',
  administrator: 'Administrator: everything',
}

/** Who can sign in, and what they may do. */
export default function People() {
  useTitle('People')
  const { data, error } = useQuery(queries.people())
  const queryClient = useQueryClient()
  const [link, setLink] = useState<{ name: string; link: string } | null>(null)
  const settled = { onError: sayProblem, onSettled: () => queryClient.invalidateQueries({ queryKey: ['people'] }) }
  const invite = useMutation({
    mutationFn: (person: Person) => client().call('invitePerson', { params: { person: person.id } }),
    onSuccess: (made, person) => setLink({ name: person.name, link: made.link }),
    ...settled,
  })
  const remove = useMutation({
    mutationFn: (person: Person) => client().call('removePerson', { params: { person: person.id } }),
    ...settled,
  })
  const grant = useMutation({
    mutationFn: ({ person, grants }: { person: Person; grants: Person['grants'] }) =>
      client().call('setGrants', { params: { person: person.id }, body: { grants } }),
    ...settled,
  })
  const who = useWho()
  if (error && !data) return <Problem report={error as never} />
  if (!data) return <Skeleton lines={4} />
  return (
    <div className="stack wide">
      <div className="filters">
        <span className="grow" />
        <CommandLine command="dploy person list" />
      </div>
      <AddPerson onLink={setLink} />
      {link ? (
        <Once title={`Send ${link.name} this link; it opens once, and is not shown again`} value={link.link} />
      ) : null}
      <div className="card table-box">
        <table className="table">
          <thead>
            <tr>
              <th>Name</th>
              <th>May</th>
              <th>Last here</th>
              <th>
                <span className="hidden">Actions</span>
              </th>
            </tr>
          </thead>
          <tbody>
            {data.map((person) => (
              <tr key={person.id}>
                <td>
                  <span className="stack">
                    <strong>{person.name}</strong>
                    <span className="muted">{person.email}</span>
                  </span>
                </td>
                <td>
                  <span className="stack">
                    {person.grants.length === 0 ? <span className="muted">nothing yet</span> : null}
                    {person.grants.map((one, index) => (
                      <span key={index} className="row">
                        <select
                          className="input small"
                          aria-label={`What ${person.name} may do ${placeWords(one.place)}`}
                          value={one.role}
                          disabled={person.id === who?.person}
                          onChange={(event) =>
                            grant.mutate({
                              person,
                              grants: person.grants.with(index, { ...one, role: event.target.value as Role }),
                            })
                          }
                        >
                          {Object.keys(roles).map((role) => (
                            <option key={role}>{role}</option>
                          ))}
                        </select>
                        <span className="muted nowrap">{placeWords(one.place)}</span>
                        {person.id === who?.person ? null : (
                          <button
                            type="button"
                            className="button small quiet"
                            aria-label={`Take away: ${one.role} ${placeWords(one.place)} of ${person.name}`}
                            title="Take away"
                            disabled={grant.isPending}
                            onClick={() => grant.mutate({ person, grants: person.grants.toSpliced(index, 1) })}
                          >
                            <Icon name="close" size={14} />
                          </button>
                        )}
                      </span>
                    ))}
                    {person.id === who?.person ? null : (
                      <AddGrant
                        person={person}
                        busy={grant.isPending}
                        onAdd={(added) => grant.mutate({ person, grants: [...person.grants, added] })}
                      />
                    )}
                  </span>
                </td>
                <td>
                  {person.invited ? (
                    <State tone="idle">invited</State>
                  ) : person.seenAt === null ? (
                    '–'
                  ) : (
                    <Ago at={person.seenAt} />
                  )}
                </td>
                <td>
                  {person.id === who?.person ? (
                    <span className="muted">you</span>
                  ) : (
                    <span className="actions">
                      <button type="button" className="button small" onClick={() => invite.mutate(person)}>
                        New link
                      </button>
                      <Confirm
                        trigger={
                          <button type="button" className="button small">
                            Remove
                          </button>
                        }
                        title={`Remove ${person.name}?`}
                        action={`Remove ${person.name}`}
                        danger
                        onConfirm={() => remove.mutate(person)}
                      >
                        <p>Their sessions and API tokens end now. What they did stays in the audit log.</p>
                      </Confirm>
                    </span>
                  )}
                </td>
              </tr>
            ))}
          </tbody>
        </table>
      </div>
    </div>
  )
}

/** A further role of a person, somewhere where they have none yet. */
function AddGrant({
  person,
  busy,
  onAdd,
}: {
  person: Person
  busy: boolean
  onAdd: (grant: Person['grants'][number]) => void
}) {
  const [open, setOpen] = useState(false)
  const [role, setRole] = useState<Role>('viewer')
  const [place, setPlace] = useState('')
  const taken = person.grants.some((one) => placeWords(one.place) === placeWords(placeFrom(place)))
  if (!open)
    return (
      <span>
        <button
          type="button"
          className="button small quiet"
          aria-label={`Add a role of ${person.name}`}
          onClick={() => setOpen(true)}
        >
          Add…
        </button>
      </span>
    )
  return (
    <form
      className="row wrap"
      aria-label={`Add a role of ${person.name}`}
      onSubmit={(event) => (event.preventDefault(), onAdd({ role, place: placeFrom(place) }), setOpen(false))}
    >
      <select
        className="input small"
        aria-label="Role"
        value={role}
        onChange={(event) => setRole(event.target.value as Role)}
      >
        {Object.keys(roles).map((one) => (
          <option key={one}>{one}</option>
        ))}
      </select>
      <PlaceChoice id={`place-of-${person.id}`} label="Where" value={place} onChange={setPlace} />
      <button
        type="submit"
        className="button small"
        disabled={busy || taken}
        title={taken ? 'They have a role there; change that one' : undefined}
      >
        Add
      </button>
      <button type="button" className="button small quiet" onClick={() => setOpen(false)}>
        Leave it
      </button>
      <CommandLine command={`dploy person role ${person.email} ${role}${place === '' ? '' : ` --in ${place}`} --add`} />
    </form>
  )
}

function AddPerson({ onLink }: { onLink: (link: { name: string; link: string }) => void }) {
  const [name, setName] = useState('')
  const [email, setEmail] = useState('')
  const [role, setRole] = useState<Role>('deployer')
  const [place, setPlace] = useState('')
  const queryClient = useQueryClient()
  const add = useMutation({
    mutationFn: () =>
      client().call('addPerson', { body: { name, email, grants: [{ role, place: placeFrom(place) }] } }),
    onSuccess: (made) => {
      onLink({ name, link: made.link })
      setName('')
      setEmail('')
    },
    onError: sayProblem,
    onSettled: () => queryClient.invalidateQueries({ queryKey: ['people'] }),
  })
  return (
    <form className="card form" aria-label="Add a person" onSubmit={(event) => (event.preventDefault(), add.mutate())}>
      <div className="field">
        <label htmlFor="person-name">Name</label>
        <input
          id="person-name"
          className="input"
          required
          maxLength={100}
          value={name}
          onChange={(event) => setName(event.target.value)}
        />
      </div>
      <div className="field">
        <label htmlFor="person-email">E-mail address</label>
        <input
          id="person-email"
          className="input"
          type="email"
          required
          value={email}
          onChange={(event) => setEmail(event.target.value)}
        />
      </div>
      <div className="field">
        <label htmlFor="person-role">May</label>
        <select
          id="person-role"
          className="input"
          value={role}
          onChange={(event) => setRole(event.target.value as Role)}
        >
          {Object.entries(roles).map(([value, text]) => (
            <option key={value} value={value}>
              {text}
            </option>
          ))}
        </select>
      </div>
      <div className="field">
        <label htmlFor="person-place">Where</label>
        <PlaceChoice id="person-place" value={place} onChange={setPlace} />
      </div>
      <div className="actions">
        <button type="submit" className="button primary" disabled={add.isPending}>
          Add person
        </button>
      </div>
      {name && email ? (
        <CommandLine command={`dploy person add ${email} --name ${JSON.stringify(name)} --role ${role}`} />
      ) : null}
    </form>
  )
}
