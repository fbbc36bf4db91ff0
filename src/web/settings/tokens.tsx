import { useMutation, useQuery, useQueryClient } from '@tanstack/react-query'
import { useState } from 'react'
import { rightSchema, type Right } from '../../protocol/api/access.ts'
import { queries } from '../api/queries.ts'
import { client } from '../api/session.ts'
import { CommandLine } from '../components/command-line.tsx'
import { Confirm } from '../components/confirm.tsx'
import { Empty, Skeleton } from '../components/empty.tsx'
import { Problem } from '../components/problem.tsx'
import { Ago } from '../components/time.tsx'
import { sayProblem } from '../components/toasts.tsx'
import { useTitle } from '../shell/use-title.ts'
import { Once } from './once.tsx'
import { PlaceChoice, placeFrom, placeWords } from './place-choice.tsx'

/** API tokens: for CI and for the command line. */
export default function Tokens() {
  useTitle('API tokens')
  const { data, error } = useQuery(queries.tokens())
  const queryClient = useQueryClient()
  const [note, setNote] = useState('')
  const [right, setRight] = useState<Right>('deploy')
  const [place, setPlace] = useState('')
  const [days, setDays] = useState('90')
  const settled = { onError: sayProblem, onSettled: () => queryClient.invalidateQueries({ queryKey: ['tokens'] }) }
  const make = useMutation({
    mutationFn: () => {
      const where = placeFrom(place)
      return client().call('createToken', {
        body: { note, right, places: where === null ? null : [where], days: days === '' ? null : Number(days) },
      })
    },
    onSuccess: () => setNote(''),
    ...settled,
  })
  const revoke = useMutation({
    mutationFn: (token: string) => client().call('revokeToken', { params: { token } }),
    ...settled,
  })
  if (error && !data) return <Problem report={error as never} />
  if (!data) return <Skeleton lines={4} />
  return (
    <div className="stack wide">
      <form
        className="card form"
        aria-label="Make a token"
        onSubmit={(event) => (event.preventDefault(), make.mutate())}
      >
        <div className="field">
          <label htmlFor="token-note">What it is for</label>
          <input
            id="token-note"
            className="input"
            required
            maxLength={100}
            placeholder="CI of shop"
            value={note}
            onChange={(event) => setNote(event.target.value)}
          />
        </div>
        <div className="field">
          <label htmlFor="token-right">It may</label>
          <select
            id="token-right"
            className="input"
            value={right}
            onChange={(event) => setRight(event.target.value as Right)}
          >
            {rightSchema.options.map((one) => (
              <option key={one}>{one}</option>
            ))}
          </select>
        </div>
        <div className="field">
          <label htmlFor="token-place">Where</label>
          <PlaceChoice id="token-place" value={place} onChange={setPlace} />
        </div>
        <div className="field">
          <label htmlFor="token-days">For</label>
          <select id="token-days" className="input" value={days} onChange={(event) => setDays(event.target.value)}>
            <option value="1">a day</option>
            <option value="30">30 days</option>
            <option value="90">90 days</option>
            <option value="365">a year</option>
            <option value="">ever</option>
          </select>
        </div>
        <div className="actions">
          <button type="submit" className="button primary" disabled={make.isPending}>
            Make token
          </button>
        </div>
        <CommandLine
          command={`dploy token create ${JSON.stringify(note || 'CI')} --right ${right}${place === '' ? '' : ` --in ${place}`} --days ${days === '' ? 0 : days}`}
        />
      </form>
      {make.data ? (
        <Once title="Copy the token now: it is not shown again" value={make.data.token}>
          <p className="muted">
            On the command line: <code>DPLOY_URL={location.origin} DPLOY_TOKEN=… dploy status</code>
          </p>
        </Once>
      ) : null}
      {data.length === 0 ? (
        <Empty title="No token yet">
          <p>A token lets CI deploy, or your command line reach this control plane. Make one above.</p>
        </Empty>
      ) : (
        <div className="card table-box">
          <table className="table">
            <thead>
              <tr>
                <th>For</th>
                <th>May</th>
                <th>Where</th>
                <th>Of</th>
                <th>Used</th>
                <th>Ends</th>
                <th>
                  <span className="hidden">Actions</span>
                </th>
              </tr>
            </thead>
            <tbody>
              {data.map((token) => (
                <tr key={token.id}>
                  <td>
                    <strong>{token.note}</strong>
                  </td>
                  <td>{token.right}</td>
                  <td>{token.places === null ? placeWords(null) : token.places.map(placeWords).join(', ')}</td>
                  <td>{token.owner?.name ?? 'this machine'}</td>
                  <td>{token.usedAt === null ? 'never' : <Ago at={token.usedAt} />}</td>
                  <td className="nowrap">
                    {token.expiresAt === null ? 'never' : new Date(token.expiresAt).toLocaleDateString()}
                  </td>
                  <td>
                    <span className="actions">
                      <Confirm
                        trigger={
                          <button type="button" className="button small">
                            End
                          </button>
                        }
                        title={`End the token for “${token.note}”?`}
                        action="End the token"
                        danger
                        command={`dploy token revoke ${token.id}`}
                        onConfirm={() => revoke.mutate(token.id)}
                      >
                        <p>What uses it is refused from now on.</p>
                      </Confirm>
                    </span>
                  </td>
                </tr>
              ))}
            </tbody>
          </table>
        </div>
      )}
    </div>
  )
}
