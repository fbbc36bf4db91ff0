import { useMutation, useQuery } from '@tanstack/react-query'
import { useState } from 'react'
import { queries } from '../api/queries.ts'
import { useWho } from '../api/rights.ts'
import { client, session } from '../api/session.ts'
import { CommandLine } from '../components/command-line.tsx'
import { Confirm } from '../components/confirm.tsx'
import { Ago } from '../components/time.tsx'
import { sayProblem, toasts } from '../components/toasts.tsx'
import { useTitle } from '../shell/use-title.ts'
import { placeWords } from './place-choice.tsx'

/** Who one is, one's password and sessions. */
export default function Account() {
  useTitle('You')
  const who = useWho()
  const { data: sessions } = useQuery({ ...queries.sessions(), enabled: who?.kind === 'person' })
  const [old, setOld] = useState('')
  const [password, setPassword] = useState('')
  const change = useMutation({
    mutationFn: () => client().call('changePassword', { body: { old, password } }),
    onSuccess: () => {
      setOld('')
      setPassword('')
      toasts.add({ title: 'Your password is changed', description: 'Your other sessions ended.' })
    },
    onError: sayProblem,
  })
  const everywhere = useMutation({
    mutationFn: () => client().call('signOutEverywhere'),
    onSuccess: () => session.ended(),
    onError: sayProblem,
  })
  if (!who) return null
  return (
    <div className="stack wide">
      <section className="card">
        <header>
          <h2 className="grow">{who.name}</h2>
          {who.email === null ? null : (
            <CommandLine command="dploy person list" label="People and what they may do, on the command line" />
          )}
        </header>
        <div className="body stack">
          {who.email ? <p>{who.email}</p> : <p className="muted">Signed in by an API token, in this tab alone.</p>}
          <ul>
            {who.rights.map(({ right, place }, index) => (
              <li key={index}>
                may {right} {placeWords(place)}
              </li>
            ))}
          </ul>
        </div>
      </section>
      {who.kind === 'person' ? (
        <>
          <section className="card">
            <header>
              <h2>Password</h2>
            </header>
            <form className="body stack narrow" onSubmit={(event) => (event.preventDefault(), change.mutate())}>
              <div className="field">
                <label htmlFor="old">Now</label>
                <input
                  id="old"
                  className="input"
                  type="password"
                  autoComplete="current-password"
                  required
                  value={old}
                  onChange={(event) => setOld(event.target.value)}
                />
              </div>
              <div className="field">
                <label htmlFor="new">New, 12 characters or more</label>
                <input
                  id="new"
                  className="input"
                  type="password"
                  autoComplete="new-password"
                  required
                  minLength={12}
                  value={password}
                  onChange={(event) => setPassword(event.target.value)}
                />
              </div>
              <div className="row">
                <button type="submit" className="button primary" disabled={change.isPending}>
                  Change password
                </button>
              </div>
            </form>
          </section>
          <section className="card">
            <header>
              <h2 className="grow">Where you are signed in</h2>
              <Confirm
                trigger={
                  <button type="button" className="button small">
                    Sign out everywhere
                  </button>
                }
                title="Sign out everywhere?"
                action="Sign out everywhere"
                onConfirm={() => everywhere.mutate()}
              >
                <p>All your sessions end, this one too. API tokens stay.</p>
              </Confirm>
            </header>
            <div className="table-box">
              <table className="table">
                <thead>
                  <tr>
                    <th>Browser</th>
                    <th>From</th>
                    <th>Last used</th>
                  </tr>
                </thead>
                <tbody>
                  {(sessions ?? []).map((one) => (
                    <tr key={one.id}>
                      <td>
                        {one.browser.slice(0, 90) || 'not named'}
                        {one.current ? <span className="tag">this one</span> : null}
                      </td>
                      <td>{one.address}</td>
                      <td>
                        <Ago at={one.seenAt} />
                      </td>
                    </tr>
                  ))}
                </tbody>
              </table>
            </div>
          </section>
        </>
      ) : null}
    </div>
  )
}
