import { useMutation, useQuery, useQueryClient } from '@tanstack/react-query'
import { useState } from 'react'
import { queries } from '../../api/queries.ts'
import { useMay } from '../../api/rights.ts'
import { client } from '../../api/session.ts'
import { CommandLine } from '../../components/command-line.tsx'
import { Confirm } from '../../components/confirm.tsx'
import { Problem } from '../../components/problem.tsx'
import { State } from '../../components/state.tsx'
import { Ago } from '../../components/time.tsx'
import { sayProblem } from '../../components/toasts.tsx'

/** Names of the secrets, who set them, and a form that sets one. `wanted`: those that dploy.yml names. */
export function Secrets({
  application,
  environment,
  wanted,
}: {
  application: string
  environment: string
  wanted: readonly { name: string; set: boolean }[]
}) {
  const params = { application, environment }
  const { data, error } = useQuery(queries.secrets(application, environment))
  const administers = useMay('administer', params)
  const queryClient = useQueryClient()
  const [name, setName] = useState('')
  const [value, setValue] = useState('')
  const settled = {
    onError: sayProblem,
    onSettled: () =>
      Promise.all([
        queryClient.invalidateQueries({ queryKey: ['secrets'] }),
        queryClient.invalidateQueries({ queryKey: ['settings'] }),
      ]),
  }
  const set = useMutation({
    mutationFn: () => client().call('setSecret', { params: { ...params, name }, body: { value } }),
    onSuccess: () => {
      setName('')
      setValue('')
    },
    ...settled,
  })
  const remove = useMutation({
    mutationFn: (one: string) => client().call('removeSecret', { params: { ...params, name: one } }),
    ...settled,
  })
  const missing = wanted.filter((one) => !one.set && !data?.some((known) => known.name === one.name))
  return (
    <section className="card" aria-label="Secrets">
      <header>
        <h2 className="grow">Secrets</h2>
        <CommandLine command={`dploy secret set ${environment} NAME`} />
      </header>
      <div className="body stack">
        <p className="muted">
          Written, never read again: not here, not by the API. The next release gets them, where dploy.yml names them.
        </p>
        {error ? <Problem report={error as never} /> : null}
        {data && data.length > 0 ? (
          <div className="table-box">
            <table className="table">
              <thead>
                <tr>
                  <th>Name</th>
                  <th>Set</th>
                  <th>By</th>
                  <th>
                    <span className="hidden">Actions</span>
                  </th>
                </tr>
              </thead>
              <tbody>
                {data.map((one) => (
                  <tr key={one.name}>
                    <td className="mono">{one.name}</td>
                    <td>
                      <Ago at={one.setAt} />
                    </td>
                    <td>{one.setBy}</td>
                    <td>
                      <span className="actions">
                        {administers ? (
                          <Confirm
                            trigger={
                              <button type="button" className="button small">
                                Remove
                              </button>
                            }
                            title={`Remove ${one.name}?`}
                            action={`Remove ${one.name}`}
                            danger
                            onConfirm={() => remove.mutate(one.name)}
                          >
                            <p>
                              It is forgotten with all the values it had. Releases that need it can no longer be
                              activated.
                            </p>
                          </Confirm>
                        ) : null}
                      </span>
                    </td>
                  </tr>
                ))}
              </tbody>
            </table>
          </div>
        ) : data ? (
          <p>No secret yet.</p>
        ) : null}
        {missing.length > 0 ? (
          <p className="row wrap">
            <State tone="warn">
              dploy.yml names {missing.length === 1 ? 'one that is not set' : `${missing.length} that are not set`}:
            </State>
            {missing.map((one) =>
              administers ? (
                <button
                  key={one.name}
                  type="button"
                  className="button small mono"
                  onClick={() => (setName(one.name), document.getElementById('secret-value')?.focus())}
                >
                  {one.name}
                </button>
              ) : (
                <code key={one.name}>{one.name}</code>
              ),
            )}
          </p>
        ) : null}
      </div>
      {administers ? (
        <form className="form" aria-label="Set a secret" onSubmit={(event) => (event.preventDefault(), set.mutate())}>
          <div className="field">
            <label htmlFor="secret-name">Name</label>
            <input
              id="secret-name"
              className="input mono"
              required
              pattern="[A-Za-z_][A-Za-z0-9_]{0,127}"
              autoComplete="off"
              value={name}
              onChange={(event) => setName(event.target.value)}
            />
          </div>
          <div className="field">
            <label htmlFor="secret-value">Value</label>
            <input
              id="secret-value"
              className="input mono"
              type="password"
              required
              autoComplete="new-password"
              value={value}
              onChange={(event) => setValue(event.target.value)}
            />
          </div>
          <div className="actions">
            <button type="submit" className="button primary" disabled={set.isPending}>
              Set secret
            </button>
          </div>
        </form>
      ) : null}
    </section>
  )
}
