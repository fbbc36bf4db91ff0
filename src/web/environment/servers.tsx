import { useQuery } from '@tanstack/react-query'
import { useCallback, useMemo, useState } from 'react'
import { useParams, useSearchParams } from 'react-router'
import { queries } from '../api/queries.ts'
import { useMay } from '../api/rights.ts'
import { CommandLine } from '../components/command-line.tsx'
import { DataTable } from '../components/data-table.tsx'
import { Empty, Skeleton } from '../components/empty.tsx'
import { Problem } from '../components/problem.tsx'
import { State } from '../components/state.tsx'
import { useAfter } from '../components/time.tsx'
import { AddServer } from '../servers/add-server.tsx'
import { columnsOf, type ServerPlace } from '../servers/columns.tsx'
import { serverQueries } from '../servers/queries.ts'
import { groupsOf, matches, rowsOf, stateOf, statesOf, tagNamesOf } from '../servers/rows.ts'
import { ServerDrawer } from '../servers/server-drawer.tsx'
import { ServerGrid } from '../servers/server-grid.tsx'
import { useTitle } from '../shell/use-title.ts'
import '../deployment/deployment.css'
import '../servers/servers.css'

/** More servers than this are cells, unless one asks for rows. */
const rowsUpTo = 40

/** What each server of an environment runs, whether it is well, how busy it is, and whether it gets traffic. */
export default function Servers() {
  const { application = '', environment = '' } = useParams()
  useTitle(`Servers · ${application} → ${environment}`)
  const where = useMemo(() => ({ application, environment }), [application, environment])
  const { data, error } = useQuery(queries.status(application, environment))
  const { data: health } = useQuery(serverQueries.health(where))
  const { data: vitals } = useQuery(serverQueries.vitals(where))
  const [search, setSearch] = useState('')
  const [only, setOnly] = useState<string | null>(null)
  const [tag, setTag] = useState('')
  const [view, setView] = useState<'rows' | 'cells' | null>(null)
  const [address, setAddress] = useSearchParams()
  const patient = useAfter(300)
  const administers = useMay('administer', null)
  const may = useMay('deploy', where)
  const shells = useMay('administer', where)
  const all = useMemo(() => rowsOf(data?.servers ?? [], health, vitals), [data, health, vitals])
  const groups = useMemo(
    () =>
      groupsOf(
        all.filter((server) => matches(server, search) && (only === null || stateOf(server).text === only)),
        tag,
      ),
    [all, search, only, tag],
  )
  const open = useCallback((server: string) => setAddress({ server }, { replace: true }), [setAddress])
  const wanted = data?.wanted?.release ?? null
  const short = all.length > rowsUpTo
  const place = useMemo<ServerPlace>(
    () => ({ wanted, may, shells, short, onOpen: open }),
    [wanted, may, shells, short, open],
  )
  const columns = useMemo(() => columnsOf(place), [place])
  if (error && !data) return <Problem report={error as never} />
  if (!data) return patient ? <Skeleton lines={5} /> : null
  const states = statesOf(all)
  const tags = tagNamesOf(all)
  const drifted = data.servers.filter((server) => server.drifted).length
  const shown = groups.reduce((sum, { servers }) => sum + servers.length, 0)
  const cells = (view ?? (short ? 'cells' : 'rows')) === 'cells'
  const opened = all.find(({ name }) => name === address.get('server'))
  return (
    <div className="stack wide">
      {data.balancerProblem ? <Problem report={data.balancerProblem} tone="warn" /> : null}
      {drifted > 0 && !data.lock ? (
        <Problem
          tone="warn"
          report={{
            code: 'deployment.conflict',
            message: `${drifted} of ${data.servers.length} servers do not run release ${data.wanted?.release}`,
            fix: `They converge by themselves when their agents connect; at once with: dploy deploy ${environment}`,
          }}
        />
      ) : null}
      <div className="filters">
        <input
          className="input"
          type="search"
          data-search
          aria-label="Search servers"
          placeholder="Name or tag"
          value={search}
          onChange={(event) => setSearch(event.target.value)}
        />
        {tags.length === 0 ? null : (
          <select className="input" aria-label="Group by" value={tag} onChange={(event) => setTag(event.target.value)}>
            <option value="">Not grouped</option>
            {tags.map((name) => (
              <option key={name} value={name}>
                By {name}
              </option>
            ))}
          </select>
        )}
        <div className="segments" role="group" aria-label="Shown as">
          <button type="button" aria-pressed={!cells} onClick={() => setView('rows')}>
            Rows
          </button>
          <button type="button" aria-pressed={cells} onClick={() => setView('cells')}>
            Cells
          </button>
        </div>
        <span className="grow" />
        <CommandLine command={`dploy status ${environment}`} />
        {administers ? <AddServer application={application} environment={environment} servers={data.servers} /> : null}
      </div>
      {data.servers.length === 0 ? null : (
        <div className="state-chips" role="group" aria-label="Which state">
          <button type="button" className="button small" aria-pressed={only === null} onClick={() => setOnly(null)}>
            All <span className="number">{all.length}</span>
          </button>
          {states.map(({ tone, text, count }) => (
            <button
              key={text}
              type="button"
              className="button small"
              aria-pressed={only === text}
              onClick={() => setOnly(only === text ? null : text)}
            >
              <State tone={tone}>{text}</State> <span className="number">{count}</span>
            </button>
          ))}
        </div>
      )}
      {data.servers.length === 0 ? (
        <Empty title="No servers yet">
          <p>
            Name them in dploy.yml under environments.{environment}.servers, then add each with the line that “Add a
            server” shows.
          </p>
        </Empty>
      ) : shown === 0 ? (
        <Empty title="No server is like that">
          <p>Another search, or all states.</p>
        </Empty>
      ) : cells ? (
        <ServerGrid groups={groups} onOpen={open} />
      ) : (
        groups.map(({ title, servers }) => (
          <section key={title} aria-label={title === '' ? undefined : `Servers with ${title}`}>
            {title === '' ? null : (
              <h3 className="group-head">
                {title} <span className="muted number">{servers.length}</span>
              </h3>
            )}
            <div className="card">
              <DataTable
                columns={columns}
                rows={servers}
                label={title === '' ? 'Servers' : `Servers with ${title}`}
                rowKey={(server) => server.name}
              />
            </div>
          </section>
        ))
      )}
      {opened ? (
        <ServerDrawer
          key={opened.name}
          server={opened}
          where={where}
          place={place}
          onClose={() => setAddress({}, { replace: true })}
        />
      ) : null}
    </div>
  )
}
