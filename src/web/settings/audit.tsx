import { useInfiniteQuery } from '@tanstack/react-query'
import { useDeferredValue, useState } from 'react'
import type { AuditEntry } from '../../protocol/api/audit.ts'
import { client } from '../api/session.ts'
import { CommandLine } from '../components/command-line.tsx'
import { Empty, Skeleton } from '../components/empty.tsx'
import { Problem } from '../components/problem.tsx'
import { State, type Tone } from '../components/state.tsx'
import { Ago } from '../components/time.tsx'
import { sayProblem } from '../components/toasts.tsx'
import { useTitle } from '../shell/use-title.ts'

const tones: Record<AuditEntry['outcome'], Tone> = { begun: 'busy', done: 'good', refused: 'warn', failed: 'bad' }

/** Who changed what, and what was refused. */
export default function Audit() {
  useTitle('Audit log')
  const [who, setWho] = useState('')
  const [action, setAction] = useState('')
  const filter = useDeferredValue({ who, action })
  const query = { ...(filter.who ? { who: filter.who } : {}), ...(filter.action ? { action: filter.action } : {}) }
  const { data, error, hasNextPage, fetchNextPage, isFetchingNextPage } = useInfiniteQuery({
    queryKey: ['audit', query],
    initialPageParam: undefined as number | undefined,
    queryFn: ({ pageParam, signal }) =>
      client().call(
        'audit',
        { query: { ...query, ...(pageParam === undefined ? {} : { cursor: pageParam }) } },
        { signal },
      ),
    getNextPageParam: (page) => page.next ?? undefined,
  })
  const entries = data?.pages.flatMap((page) => page.entries) ?? []
  return (
    <div className="stack wide">
      <div className="filters">
        <input
          className="input"
          type="search"
          data-search
          aria-label="Who"
          placeholder="Who"
          value={who}
          onChange={(event) => setWho(event.target.value)}
        />
        <input
          className="input"
          type="search"
          aria-label="What"
          placeholder="What: deploy, setSecret, …"
          value={action}
          onChange={(event) => setAction(event.target.value)}
        />
        <span className="grow" />
        <button type="button" className="button" onClick={() => void download(query).catch(sayProblem)}>
          Download CSV
        </button>
        <CommandLine command="dploy audit" />
      </div>
      {error && !data ? (
        <Problem report={error as never} />
      ) : !data ? (
        <Skeleton lines={5} />
      ) : entries.length === 0 ? (
        <Empty title="Nothing is like that">
          <p>Another name, or none.</p>
        </Empty>
      ) : (
        <div className="card table-box" role="region" aria-label="Entries" tabIndex={0}>
          <table className="table">
            <thead>
              <tr>
                <th>When</th>
                <th>Who</th>
                <th>What</th>
                <th>Where</th>
                <th>Came of it</th>
                <th>Before and after</th>
              </tr>
            </thead>
            <tbody>
              {entries.map((one) => (
                <tr key={one.seq}>
                  <td>
                    <Ago at={one.at} />
                  </td>
                  <td>
                    <span className="stack">
                      <span>{one.who || one.kind}</span>
                      <span className="muted">{one.address || 'this machine'}</span>
                    </span>
                  </td>
                  <td className="mono">{one.action}</td>
                  <td>
                    <span className="stack">
                      {one.application ? (
                        <span className="nowrap">
                          {one.application} → {one.environment}
                        </span>
                      ) : null}
                      {one.subject ? <span className="muted">{one.subject}</span> : null}
                    </span>
                  </td>
                  <td>
                    <State tone={tones[one.outcome]}>{one.outcome}</State>
                    {one.problem ? <span className="muted"> {one.problem}</span> : null}
                  </td>
                  <td className="mono audit-change">
                    {[one.before, one.after]
                      .filter((value) => value !== null && value !== undefined)
                      .map((value) => JSON.stringify(value).slice(0, 300))
                      .join(' → ')}
                  </td>
                </tr>
              ))}
            </tbody>
          </table>
        </div>
      )}
      {hasNextPage ? (
        <div className="row">
          <button type="button" className="button" disabled={isFetchingNextPage} onClick={() => void fetchNextPage()}>
            Older
          </button>
        </div>
      ) : null}
    </div>
  )
}

async function download(query: { who?: string; action?: string }): Promise<void> {
  const pieces: string[] = []
  for await (const piece of client().text('exportAudit', { query: { ...query, format: 'csv' } })) pieces.push(piece)
  const link = document.createElement('a')
  link.href = URL.createObjectURL(new Blob(pieces, { type: 'text/csv' }))
  link.download = 'dploy-audit.csv'
  link.click()
  URL.revokeObjectURL(link.href)
}
