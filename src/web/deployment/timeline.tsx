import { useVirtualizer } from '@tanstack/react-virtual'
import { memo, useEffect, useMemo, useRef, useState, type PointerEvent } from 'react'
import type { StepState } from '../../protocol/deployment.ts'
import { duration, useNow } from '../components/time.tsx'
import type { LiveDeployment } from './live-deployment.ts'
import type { LiveServer } from './live-server.ts'
import { ServerCells } from './server-cells.tsx'
import { ServerRow } from './server-row.tsx'
import { axisEnd, tickText, ticksOf, type Cursor } from './time-axis.ts'
import { TrafficChart } from './traffic-chart.tsx'
import { useWatched } from './use-live.ts'

/** Up to so many servers are rows; more are cells. */
const rowsUpTo = 40
const rowHeight = 28
const legend = [
  ['stage', 'stage'],
  ['command', 'hooks'],
  ['drain', 'drain'],
  ['switch', 'switch'],
  ['boot', 'boot'],
  ['register', 'register'],
] as const

/** Traffic above what each server did, on one axis with one cursor. */
export function Timeline({
  live,
  expected,
  picked,
  onPick,
  cursor,
}: {
  live: LiveDeployment
  /** How many servers there will be, as long as no plan names them. */ expected: number
  picked: string | null
  onPick: (name: string | null) => void
  cursor: Cursor
}) {
  useWatched(live.parts.head)
  const version = useWatched(live.parts.traffic)
  const { order, batches } = live.servers
  const over = live.ended !== null
  const now = useNow(over ? 3_600_000 : 250)
  const began = live.began ?? now
  const end = axisEnd((live.ended ?? now) - began, over)
  const many = order.length > rowsUpTo
  const [view, setView] = useState<'cells' | 'rows' | null>(null)
  const shown = view ?? (many ? 'cells' : 'rows')
  const [state, setState] = useState<StepState | null>(null)
  const narrow = useNarrow()
  const gutter = narrow ? 92 : 124
  const right = narrow ? 12 : 112
  const box = useRef<HTMLDivElement>(null)
  const line = useRef<HTMLDivElement>(null)
  const reading = useRef<HTMLSpanElement>(null)

  useEffect(
    () =>
      cursor.watch((at) => {
        const element = line.current
        if (!element || !box.current) return
        const width = box.current.clientWidth - gutter - right
        element.hidden = at === null || at < 0 || at > end
        if (at === null) return
        element.style.transform = `translateX(${gutter + (at / end) * width}px)`
        if (reading.current) reading.current.textContent = readingAt(live, at)
      }),
    [cursor, live, end, gutter, right],
  )
  const point = (event: PointerEvent) => {
    const { left, width } = box.current!.getBoundingClientRect()
    const at = ((event.clientX - left - gutter) / (width - gutter - right)) * end
    cursor.set(at < 0 || at > end ? null : at)
  }
  const pick = useMemo(() => (name: string) => onPick(name === picked ? null : name), [onPick, picked])

  return (
    <section className="card timeline" aria-labelledby="timeline-title">
      <header>
        <h2 id="timeline-title">Traffic and servers</h2>
        <TrafficWords live={live} />
        <span className="grow" />
        {many ? (
          <>
            <StateFilter live={live} state={state} onState={setState} />
            <div className="segments" role="group" aria-label="How servers are shown">
              {(['cells', 'rows'] as const).map((one) => (
                <button key={one} type="button" aria-pressed={shown === one} onClick={() => setView(one)}>
                  {one === 'cells' ? 'Cells' : 'Rows'}
                </button>
              ))}
            </div>
          </>
        ) : null}
      </header>
      <div ref={box} className="axis" onPointerMove={point} onPointerLeave={() => cursor.set(null)}>
        <div ref={line} className="cursor-line" hidden>
          <span ref={reading} className="cursor-reading number" />
        </div>
        {live.traffic.length > 0 ? (
          <TrafficChart
            points={live.traffic}
            exact={live.receipt !== null}
            end={end}
            version={version}
            gutter={gutter}
            right={right}
          />
        ) : (
          <p className={`no-traffic muted ${over ? '' : 'waits'}`}>
            {over
              ? 'No traffic was measured. With probe: in dploy.yml, dploy asks while it deploys.'
              : 'No request measured yet.'}
          </p>
        )}
        {order.length === 0 && !over && expected <= rowsUpTo ? (
          <div className="server-rows" aria-hidden="true">
            {Array.from({ length: expected }, (_, index) => (
              <div key={index} className="server-row" />
            ))}
          </div>
        ) : shown === 'rows' ? (
          <FilteredRows live={live} state={state} began={began} end={end} picked={picked} onPick={pick} />
        ) : null}
        {shown === 'rows' || live.traffic.length > 0 ? <Ticks end={end} narrow={narrow} /> : null}
      </div>
      {shown === 'cells' ? <ServerCells batches={batches} state={state} picked={picked} onPick={pick} /> : null}
      {shown === 'rows' && (order.length > 0 || !over) ? (
        <footer className="legend" aria-hidden="true">
          {legend.map(([group, title]) => (
            <span key={group}>
              <i className={`do-${group}`} />
              {title}
            </span>
          ))}
        </footer>
      ) : null}
    </section>
  )
}

function TrafficWords({ live }: { live: LiveDeployment }) {
  const { counts } = live
  if (!counts) return null
  return (
    <span className="row wrap muted number traffic-words">
      <span>{counts.seen.toLocaleString('en')} requests</span>
      <span className={counts.failed > 0 ? 'is-bad' : ''}>{counts.failed} failed</span>
      <span className={counts.stalled > 0 ? 'is-warn' : ''}>{counts.stalled} stalled</span>
      <span>slowest {duration(counts.slowestMs)}</span>
      {live.receipt?.traffic.p99 == null ? null : (
        <span title="99 of 100 answers came within this time">p99 {duration(live.receipt.traffic.p99)}</span>
      )}
    </span>
  )
}

/** How many stand where, to choose of. */
function StateFilter({
  live,
  state,
  onState,
}: {
  live: LiveDeployment
  state: StepState | null
  onState: (state: StepState | null) => void
}) {
  useWatched(live.parts.servers)
  const { order, states } = live.servers
  return (
    <select
      className="input small state-filter"
      aria-label="Which servers"
      value={state ?? ''}
      onChange={(event) => onState((event.target.value || null) as StepState | null)}
    >
      <option value="">All {order.length} servers</option>
      {[...new Set([...states.keys(), ...(state === null ? [] : [state])])].map((one) => (
        <option key={one} value={one}>
          {one}
        </option>
      ))}
    </select>
  )
}

function FilteredRows({
  live,
  state,
  ...rest
}: {
  live: LiveDeployment
  state: StepState | null
  began: number
  end: number
  picked: string | null
  onPick: (name: string) => void
}) {
  const version = useWatched(live.parts.servers)
  const { order } = live.servers
  const servers = useMemo(
    () => (state === null ? order : order.filter((server) => server.state === state)),
    [order, state, state === null ? 0 : version],
  )
  return <Rows servers={servers} {...rest} />
}

const Rows = memo(function Rows({
  servers,
  began,
  end,
  picked,
  onPick,
}: {
  servers: readonly LiveServer[]
  began: number
  end: number
  picked: string | null
  onPick: (name: string) => void
}) {
  const box = useRef<HTMLDivElement>(null)
  const list = useVirtualizer({
    count: servers.length,
    getScrollElement: () => box.current,
    estimateSize: () => rowHeight,
    overscan: 6,
    enabled: servers.length > rowsUpTo,
  })
  const row = (index: number) => {
    const server = servers[index]!
    return (
      <ServerRow
        key={server.name}
        server={server}
        began={began}
        end={end}
        picked={picked === server.name}
        onPick={onPick}
        first={server.batch !== servers[index - 1]?.batch}
      />
    )
  }
  if (servers.length <= rowsUpTo)
    return (
      <div className="server-rows" role="table" aria-label="Servers">
        {servers.map((_, index) => row(index))}
      </div>
    )
  return (
    <div
      ref={box}
      className="server-rows scrolls"
      role="table"
      aria-label="Servers"
      aria-rowcount={servers.length}
      tabIndex={0}
    >
      <div className="log-space" role="rowgroup" style={{ height: list.getTotalSize() }}>
        {list.getVirtualItems().map(({ index, start }) => (
          <div
            key={servers[index]!.name}
            className="placed"
            role="presentation"
            style={{ transform: `translateY(${start}px)` }}
          >
            {row(index)}
          </div>
        ))}
      </div>
    </div>
  )
})

function Ticks({ end, narrow }: { end: number; narrow: boolean }) {
  return (
    <div className="ticks number" aria-hidden="true">
      {/* Where the screen ends soon after the axis, the last one's words stand before its line. */}
      {ticksOf(end, narrow ? 4 : 9).map((at) => (
        <span
          key={at}
          className={narrow && at / end > 0.84 ? 'before' : undefined}
          style={{ left: `${(at / end) * 100}%` }}
        >
          {tickText(at)}
        </span>
      ))}
    </div>
  )
}

/** `1.24 s · 412/s · 1 failed`. */
function readingAt(live: LiveDeployment, at: number): string {
  const point = live.traffic.find((one) => at >= one.at && at < one.at + one.every)
  const parts = [duration(at)]
  if (point) {
    parts.push(`${Math.round((point.seen * 1_000) / point.every)}/s`)
    if (point.failed > 0) parts.push(`${point.failed} failed`)
    if (point.stalled > 0) parts.push(`${point.stalled} stalled`)
    parts.push(`slowest ${duration(point.slowestMs)}`)
  }
  return parts.join(' · ')
}

function useNarrow(): boolean {
  const [narrow, setNarrow] = useState(() => matchMedia('(max-width: 640px)').matches)
  useEffect(() => {
    const media = matchMedia('(max-width: 640px)')
    const change = () => setNarrow(media.matches)
    media.addEventListener('change', change)
    return () => media.removeEventListener('change', change)
  }, [])
  return narrow
}
