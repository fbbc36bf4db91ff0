import { Link } from 'react-router'
import { formatBytes } from '../../protocol/bytes.ts'
import type { Column } from '../components/data-table.tsx'
import { State } from '../components/state.tsx'
import { Ago } from '../components/time.tsx'
import { healthText, percent, stateOf, type ServerRow } from './rows.ts'
import { Sparkline } from './sparkline.tsx'
import { TrafficButtons } from './traffic-buttons.tsx'

export interface ServerPlace {
  /** The release that the environment wants. */
  wanted: number | null
  /** Whether who looks may drain servers, and open terminals on them. */
  may: boolean
  shells: boolean
  /** With many rows each is one line. */
  short: boolean
  onOpen(server: string): void
}

/** The columns of the table of servers. */
export function columnsOf(place: ServerPlace): Column<ServerRow>[] {
  return [
    {
      id: 'name',
      accessorFn: (row) => row.name,
      header: 'Server',
      cell: ({ row: { original } }) => (
        <span className={place.short ? 'row' : 'server-cell'}>
          <button type="button" className="link" onClick={() => place.onOpen(original.name)}>
            {original.name}
          </button>
          <Tags tags={original.tags} />
        </span>
      ),
    },
    {
      id: 'state',
      accessorFn: (row) => stateOf(row).text,
      header: 'State',
      cell: ({ row: { original } }) => <StateCell server={original} short={place.short} />,
    },
    {
      id: 'release',
      accessorFn: (row) => row.release ?? 0,
      header: 'Release',
      cell: ({ row: { original } }) => (
        <span className="number">
          {original.release ?? '–'}
          {original.drifted && original.release !== place.wanted ? (
            <span className="muted"> instead of {place.wanted}</span>
          ) : null}
        </span>
      ),
    },
    {
      id: 'since',
      accessorFn: (row) => row.service?.since ?? 0,
      header: 'Since',
      cell: ({ row: { original } }) =>
        original.lastSeenAt && !original.connected ? (
          <span className="muted">
            last seen <Ago at={original.observedAt ?? original.lastSeenAt} />
          </span>
        ) : original.service?.since ? (
          <Ago at={original.service.since} />
        ) : (
          '–'
        ),
    },
    {
      id: 'cpu',
      accessorFn: (row) => row.vitals?.now?.machine.cpu ?? -1,
      header: 'CPU',
      cell: ({ row: { original } }) => <Used server={original} part="cpu" />,
    },
    {
      id: 'memory',
      accessorFn: (row) => row.vitals?.memory.at(-1) ?? -1,
      header: 'Memory',
      cell: ({ row: { original } }) => <Used server={original} part="memory" />,
    },
    {
      id: 'disk',
      accessorFn: (row) => row.vitals?.now?.machine.disk.free ?? -1,
      header: 'Disk free',
      cell: ({ row: { original } }) => <Used server={original} part="disk" />,
    },
    {
      id: 'traffic',
      accessorFn: (row) => row.traffic?.inFlight ?? -1,
      header: 'In flight',
      cell: ({ row: { original } }) => (
        <span className="number">{original.traffic ? original.traffic.inFlight : '–'}</span>
      ),
    },
    {
      id: 'actions',
      header: () => <span className="hidden">Actions</span>,
      enableSorting: false,
      cell: ({ row: { original } }) => <Actions server={original} place={place} />,
    },
  ]
}

export function Tags({ tags }: { tags: Readonly<Record<string, string>> }) {
  const all = Object.entries(tags)
  return all.length === 0 ? null : (
    <span className="tags">
      {all.map(([name, value]) => (
        <span key={name} className="tag">
          {name}={value}
        </span>
      ))}
    </span>
  )
}

function StateCell({ server, short }: { server: ServerRow; short: boolean }) {
  const { tone, text } = stateOf(server)
  const health = healthText(server)
  const more = server.problem
    ? `${server.problem.message}. ${server.problem.fix}`
    : server.health?.healthy === false
      ? server.health.detail
      : null
  return (
    <span className="server-cell">
      <span className="row" title={more ?? undefined}>
        <State tone={tone}>{text}</State>
        {health !== null && tone !== 'bad' ? <span className="muted">{health}</span> : null}
      </span>
      {more !== null && !short ? <span className="muted">{more}</span> : null}
    </span>
  )
}

/** How much of something a server uses, now and in the last hour. */
function Used({ server: { vitals }, part }: { server: ServerRow; part: 'cpu' | 'memory' | 'disk' }) {
  const machine = vitals?.now?.machine
  if (!vitals || !machine) return <span className="muted">–</span>
  const text =
    part === 'disk'
      ? formatBytes(machine.disk.free)
      : part === 'cpu'
        ? machine.cpu === null
          ? `load ${machine.load.toFixed(1)}`
          : percent(machine.cpu)
        : percent(1 - machine.memory.available / Math.max(1, machine.memory.total))
  const title = {
    cpu: `load ${machine.load.toFixed(2)} on ${machine.processors} processors`,
    memory: `${formatBytes(machine.memory.total - machine.memory.available)} of ${formatBytes(machine.memory.total)} in use`,
    disk: `${formatBytes(machine.disk.free)} of ${formatBytes(machine.disk.total)} free`,
  }[part]
  const scarce = part === 'disk' && machine.disk.total > 0 && machine.disk.free / machine.disk.total < 0.1
  return (
    <span className="used" title={title}>
      <Sparkline at={vitals.at} parts={vitals[part]} />
      <span className={`number ${scarce ? 'scarce' : ''}`}>{text}</span>
    </span>
  )
}

function Actions({ server, place }: { server: ServerRow; place: ServerPlace }) {
  return (
    <span className="actions">
      {place.may ? <TrafficButtons server={server} /> : null}
      {place.shells ? (
        <Link
          className="button small"
          to={`../terminal/${encodeURIComponent(server.name)}`}
          relative="path"
          aria-label={`Terminal on ${server.name}`}
        >
          Terminal
        </Link>
      ) : null}
    </span>
  )
}
