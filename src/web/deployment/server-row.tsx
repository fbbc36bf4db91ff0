import { memo } from 'react'
import { State, stepTones } from '../components/state.tsx'
import { duration, useNow } from '../components/time.tsx'
import type { LiveServer, Segment } from './live-server.ts'
import { useWatched } from './use-live.ts'

/** A server on the time axis: its name, what it did when, and where it stands. */
export const ServerRow = memo(function ServerRow(props: {
  server: LiveServer
  began: number
  end: number
  picked: boolean
  onPick: (name: string) => void
  first: boolean
}) {
  const { server, end } = props
  useWatched(server)
  const { tone, text } = stepTones[server.state]
  return (
    <div className={`server-row ${props.picked ? 'picked' : ''} ${props.first ? 'first' : ''}`} role="row">
      <div className="server-head" role="rowheader">
        <button
          type="button"
          className="server-name cut"
          aria-pressed={props.picked}
          title={props.first && server.batch !== null ? `batch ${server.batch + 1}` : server.name}
          onClick={() => props.onPick(server.name)}
        >
          {server.name}
        </button>
      </div>
      <div className="server-bars" role="cell" aria-label={barsText(server.segments)}>
        {server.segments.map((segment, index) =>
          segment.end === null ? (
            <RunningBar key={index} segment={segment} began={props.began} end={end} />
          ) : (
            <Bar key={index} segment={segment} until={segment.end} end={end} />
          ),
        )}
      </div>
      <div className="server-state" role="cell" title={server.failure?.message ?? server.note}>
        <State tone={tone}>{text}</State>
      </div>
    </div>
  )
})

function RunningBar({ segment, began, end }: { segment: Segment; began: number; end: number }) {
  const now = useNow(100)
  return <Bar segment={segment} until={Math.max(segment.start, now - began)} end={end} />
}

function Bar({ segment, until, end }: { segment: Segment; until: number; end: number }) {
  const left = (segment.start / end) * 100
  const width = Math.max(0, (Math.min(until, end) - segment.start) / end) * 100
  return (
    <span
      className={`bar do-${segment.group}`}
      style={{ left: `${left}%`, width: `${width}%` }}
      title={`${segment.name}: ${duration(until - segment.start)}, from ${duration(segment.start)}`}
    />
  )
}

function barsText(segments: readonly Segment[]): string {
  return (
    segments
      .map((segment) => `${segment.name}${segment.end === null ? '' : ` ${duration(segment.end - segment.start)}`}`)
      .join(', ') || 'nothing yet'
  )
}
