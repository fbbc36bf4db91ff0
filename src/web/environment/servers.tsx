import { useMutation, useQuery, useQueryClient } from '@tanstack/react-query'
import { useMemo, useState } from 'react'
import { Link, useParams } from 'react-router'
import type { ServerStatus } from '../../protocol/api/environments.ts'
import { queries } from '../api/queries.ts'
import { useMay } from '../api/rights.ts'
import { client } from '../api/session.ts'
import { CommandLine } from '../components/command-line.tsx'
import { Confirm } from '../components/confirm.tsx'
import { DataTable, type Column } from '../components/data-table.tsx'
import { Empty, Skeleton } from '../components/empty.tsx'
import { Problem } from '../components/problem.tsx'
import { State, type Tone } from '../components/state.tsx'
import { Ago, useAfter } from '../components/time.tsx'
import { sayProblem } from '../components/toasts.tsx'
import { AddServer } from '../servers/add-server.tsx'
import { useTitle } from '../shell/use-title.ts'

/** What each server of an environment runs, whether it is well, and whether it gets traffic. */
export default function Servers() {
  const { application = '', environment = '' } = useParams()
  useTitle(`Servers · ${application} → ${environment}`)
  const { data, error } = useQuery(queries.status(application, environment))
  const [search, setSearch] = useState('')
  const [only, setOnly] = useState('')
  const patient = useAfter(300)
  const administers = useMay('administer', null)
  const may = useMay('deploy', { application, environment })
  const shells = useMay('administer', { application, environment })
  const rows = useMemo(() => (data?.servers ?? []).filter((server) => matches(server, search) && (only === '' || stateOf(server).text === only)), [data, search, only])
  const columns = useMemo(() => columnsOf({ application, environment, wanted: data?.wanted?.release ?? null, may, shells }), [application, environment, data?.wanted?.release, may, shells])
  if (error && !data) return <Problem report={error as never} />
  if (!data) return patient ? <Skeleton lines={5} /> : null
  const states = [...new Set(data.servers.map((server) => stateOf(server).text))].sort()
  const drifted = data.servers.filter((server) => server.drifted).length
  return (
    <div className="stack wide">
      {data.balancerProblem ? <Problem report={data.balancerProblem} tone="warn" /> : null}
      {drifted > 0 && !data.lock ? <Problem tone="warn" report={{ code: 'deployment.conflict', message: `${drifted} of ${data.servers.length} servers do not run release ${data.wanted?.release}`, fix: `They converge by themselves when their agents connect; at once with: dploy deploy ${environment}` }} /> : null}
      <div className="filters">
        <input className="input" type="search" data-search aria-label="Search servers" placeholder="Name or tag" value={search} onChange={(event) => setSearch(event.target.value)} />
        <select className="input" aria-label="Which state" value={only} onChange={(event) => setOnly(event.target.value)}>
          <option value="">All {data.servers.length} servers</option>
          {states.map((state) => <option key={state}>{state}</option>)}
        </select>
        <span className="grow" />
        <CommandLine command="dploy status" />
        {administers ? <AddServer application={application} environment={environment} servers={data.servers} /> : null}
      </div>
      {data.servers.length === 0 ? <Empty title="No servers yet"><p>Name them in dploy.yml under environments.{environment}.servers, then add each with the line that “Add a server” shows.</p></Empty> : rows.length === 0 ? <Empty title="No server is like that"><p>Another search, or all states.</p></Empty> : <div className="card"><DataTable columns={columns} rows={rows} label="Servers" rowKey={(server) => server.name} /></div>}
    </div>
  )
}

function matches(server: ServerStatus, search: string): boolean {
  const needle = search.trim().toLowerCase()
  return needle === '' || server.name.toLowerCase().includes(needle) || Object.entries(server.tags).some(([name, value]) => `${name}=${value}`.toLowerCase().includes(needle))
}

/** Where a server stands, in one word or two. */
export function stateOf(server: ServerStatus): { tone: Tone; text: string } {
  if (!server.connected) return { tone: 'bad', text: 'not connected' }
  if (server.problem) return { tone: 'bad', text: 'not well' }
  const state = server.service?.state
  if (state === 'failed' || state === 'stopped') return { tone: 'bad', text: `service ${state}` }
  if (server.drifted) return { tone: 'warn', text: 'drifted' }
  if (server.traffic && server.traffic.admission !== 'ready') return { tone: 'warn', text: server.traffic.admission === 'draining' ? 'draining' : 'out of traffic' }
  if (server.traffic && !server.traffic.up) return { tone: 'bad', text: 'down for the balancer' }
  return server.release === null ? { tone: 'idle', text: 'nothing deployed' } : { tone: 'good', text: 'serves' }
}

function columnsOf(place: { application: string; environment: string; wanted: number | null; may: boolean; shells: boolean }): Column<ServerStatus>[] {
  return [
    { id: 'name', accessorFn: (row) => row.name, header: 'Server', cell: ({ row: { original } }) => <span className="server-cell"><strong>{original.name}</strong>{Object.keys(original.tags).length > 0 ? <span className="tags">{Object.entries(original.tags).map(([name, value]) => <span key={name} className="tag">{name}={value}</span>)}</span> : null}</span> },
    {
      id: 'state', accessorFn: (row) => stateOf(row).text, header: 'State',
      cell: ({ row: { original } }) => {
        const { tone, text } = stateOf(original)
        return <span className="server-cell"><span title={original.problem?.message}><State tone={tone}>{text}</State></span>{original.problem ? <span className="muted">{original.problem.message}. {original.problem.fix}</span> : null}</span>
      },
    },
    { id: 'release', accessorFn: (row) => row.release ?? 0, header: 'Release', cell: ({ row: { original } }) => <span className="number">{original.release ?? '–'}{original.drifted && original.release !== place.wanted ? <span className="muted"> instead of {place.wanted}</span> : null}</span> },
    { id: 'since', accessorFn: (row) => row.service?.since ?? 0, header: 'Service runs since', cell: ({ row: { original } }) => (original.lastSeenAt && !original.connected ? <span className="muted">last seen <Ago at={original.observedAt ?? original.lastSeenAt} /></span> : original.service?.since ? <Ago at={original.service.since} /> : '–') },
    { id: 'traffic', accessorFn: (row) => row.traffic?.inFlight ?? -1, header: 'Requests in flight', cell: ({ row: { original } }) => <span className="number">{original.traffic ? original.traffic.inFlight : '–'}</span> },
    { id: 'actions', header: () => <span className="hidden">Actions</span>, enableSorting: false, cell: ({ row: { original } }) => <Actions server={original} place={place} /> },
  ]
}

function Actions({ server, place }: { server: ServerStatus; place: { may: boolean; shells: boolean } }) {
  const queryClient = useQueryClient()
  const input = { params: { server: server.name }, body: {} }
  const settled = { onError: sayProblem, onSettled: () => queryClient.invalidateQueries({ queryKey: ['status'] }) }
  const drain = useMutation({ mutationFn: () => client().call('drainServer', input), ...settled })
  const ready = useMutation({ mutationFn: () => client().call('readyServer', input), ...settled })
  return (
    <span className="actions">
      {server.traffic === null || !place.may ? null : server.traffic.admission === 'ready' ? (
        <Confirm
          trigger={<button type="button" className="button small" disabled={drain.isPending}>{drain.isPending ? 'Draining…' : 'Drain'}</button>}
          title={`Take ${server.name} out of traffic?`} action={`Drain ${server.name}`} onConfirm={() => drain.mutate()}
        >
          <p>It answers what is in flight ({server.traffic.inFlight} now), then gets nothing new, in any environment, until it is made ready again. Deployments leave it out too.</p>
        </Confirm>
      ) : (
        <button type="button" className="button small" disabled={ready.isPending} onClick={() => ready.mutate()}>{ready.isPending ? 'Putting back…' : 'Make ready'}</button>
      )}
      <Link className="button small" to={`../logs?server=${encodeURIComponent(server.name)}`} relative="path" aria-label={`Log of ${server.name}`}>Log</Link>
      {place.shells ? <Link className="button small" to={`../terminal/${encodeURIComponent(server.name)}`} relative="path" aria-label={`Terminal on ${server.name}`}>Terminal</Link> : null}
    </span>
  )
}
