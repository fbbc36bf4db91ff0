import { useMutation } from '@tanstack/react-query'
import { useVirtualizer } from '@tanstack/react-virtual'
import { memo, useCallback, useDeferredValue, useEffect, useRef, useState } from 'react'
import type { DeploymentEvent } from '../../protocol/deployment.ts'
import { client } from '../api/session.ts'
import { Icon } from '../components/icon.tsx'
import { sayProblem } from '../components/toasts.tsx'
import type { LiveDeployment } from './live-deployment.ts'
import type { LiveServer } from './live-server.ts'
import type { LogFilter, LogLine } from './log-store.ts'
import { copyLines } from './log-copy.ts'
import { LogText } from './log-text.tsx'
import type { Cursor } from './time-axis.ts'
import { useWatched } from './use-live.ts'

const lineHeight = 22
/** The list is laid out anew when its length changes, which costs as much as it is long: so it grows by so many at once. */
const growth = 2_000
/** In front of what a command is called, where its output alone is shown. */
const ofSource = 'of '
const kinds = [
  ['', 'Everything'],
  ['step', 'Steps'],
  ['note', 'Notes'],
  ['output', 'Output of commands'],
] as const

/** The log of all servers or one: searched, followed, downloaded. Only the lines that are in sight are in the page. */
export function LogPanel({
  live,
  server,
  onServer,
  cursor,
}: {
  live: LiveDeployment
  server: string | null
  onServer: (name: string | null) => void
  cursor: Cursor
}) {
  const version = useWatched(live.parts.log)
  const [which, setWhich] = useState('')
  const [source, kind] = which.startsWith(ofSource)
    ? [which.slice(ofSource.length), null]
    : [null, (which || null) as LogLine['kind'] | null]
  const [text, setText] = useState('')
  const search = useDeferredValue(text)
  const [follow, setFollow] = useState(true)
  const filter: LogFilter = { server, kind, source, text: search }
  const lines = live.log.shown(filter)
  const whole = useMutation({ mutationFn: () => downloadWhole(live.number), onError: sayProblem })
  const box = useRef<HTMLDivElement>(null)
  const list = useVirtualizer({
    count: Math.ceil(lines.length / growth) * growth,
    getScrollElement: () => box.current,
    estimateSize: heightOfLine,
    overscan: 12,
  })
  const point = useCallback((at: number) => live.began !== null && cursor.set(at - live.began), [live, cursor])

  useEffect(() => {
    if (follow && lines.length > 0) box.current!.scrollTop = lines.length * lineHeight
  }, [follow, version, lines.length, search, server, which])

  useEffect(
    () => cursor.watch((at) => highlight(box.current!, at === null ? null : at + (live.began ?? 0))),
    [cursor, live],
  )

  return (
    <section className="card log" aria-labelledby="log-title">
      <header>
        <h2 id="log-title">Log</h2>
        <span className="muted number">
          {lines.length.toLocaleString('en')} {lines.length === 1 ? 'line' : 'lines'}
          {live.log.dropped > 0 ? `; ${live.log.dropped.toLocaleString('en')} older ones are not shown` : ''}
        </span>
        <span className="grow" />
        <div className="log-tools">
          <ServerChoice servers={live.servers.order} server={server} onServer={onServer} />
          <select
            className="input small"
            aria-label="Which lines"
            value={which}
            onChange={(event) => setWhich(event.target.value)}
          >
            {kinds.map(([value, title]) => (
              <option key={value} value={value}>
                {title}
              </option>
            ))}
            {live.log.sources.size > 0 ? (
              <optgroup label="Only of">
                {[...live.log.sources].map((one) => (
                  <option key={one} value={ofSource + one}>
                    {one.replaceAll('_', ' ')}
                  </option>
                ))}
              </optgroup>
            ) : null}
          </select>
          <input
            className="input small"
            type="search"
            data-search
            aria-label="Search the log"
            placeholder="Search"
            value={text}
            onChange={(event) => setText(event.target.value)}
          />
          <button type="button" className="button small" aria-pressed={follow} onClick={() => setFollow(!follow)}>
            <Icon name="follow" size={14} />
            {follow ? 'Following' : 'Follow'}
          </button>
          <button type="button" className="button small" onClick={() => download(live, lines)}>
            <Icon name="download" size={14} />
            Download {server === null && which === '' && search === '' ? 'these lines' : 'what is shown'}
          </button>
          <button
            type="button"
            className="button small"
            title="All that is stored of it, whatever is shown"
            disabled={whole.isPending}
            onClick={() => whole.mutate()}
          >
            {whole.isPending ? 'Reading…' : 'Download the whole'}
          </button>
        </div>
      </header>
      <div
        ref={box}
        className="log-lines"
        tabIndex={0}
        role="log"
        aria-live="off"
        aria-label="Lines of the log"
        onWheel={(event) => event.deltaY < 0 && setFollow(false)}
        onKeyDown={(event) => ['ArrowUp', 'PageUp', 'Home'].includes(event.key) && setFollow(false)}
        onPointerLeave={() => cursor.set(null)}
        onCopy={copyLines}
      >
        {lines.length === 0 ? (
          <p className="muted log-nothing">{search === '' ? 'Nothing yet.' : `No line has "${search}".`}</p>
        ) : null}
        <div className="log-space" style={{ height: lines.length * lineHeight }}>
          {list
            .getVirtualItems()
            .map(({ index, start, key }) =>
              index < lines.length ? (
                <Line key={key} line={lines[index]!} start={start} search={search} onPoint={point} />
              ) : null,
            )}
        </div>
      </div>
    </section>
  )
}

const heightOfLine = () => lineHeight

/** Drawn once: lines do not change, those around it do. */
const Line = memo(function Line({
  line,
  start,
  search,
  onPoint,
}: {
  line: LogLine
  start: number
  search: string
  onPoint: (at: number) => void
}) {
  return (
    <div
      className={`log-line tone-${line.tone} kind-${line.kind}`}
      data-at={line.at}
      style={{ transform: `translateY(${start}px)` }}
      onPointerEnter={() => onPoint(line.at)}
    >
      <span className="log-time">{clockTime(line.at)}</span>
      <span className="log-server cut">{line.server ?? line.source ?? ''}</span>
      {line.server !== null && line.source !== null ? (
        <span className="log-source">{line.source.replaceAll('_', ' ')}</span>
      ) : null}
      <span className="log-text">
        <LogText text={line.text} search={search} />
      </span>
    </div>
  )
})

/** Drawn again when servers come, not with every line. */
const ServerChoice = memo(function ServerChoice({
  servers,
  server,
  onServer,
}: {
  servers: readonly LiveServer[]
  server: string | null
  onServer: (name: string | null) => void
}) {
  return (
    <select
      className="input small"
      aria-label="Which server"
      value={server ?? ''}
      onChange={(event) => onServer(event.target.value || null)}
    >
      <option value="">All servers</option>
      {servers.map(({ name }) => (
        <option key={name}>{name}</option>
      ))}
    </select>
  )
})

/** Marks the lines in sight that belong to this time: without drawing anything again. */
function highlight(box: HTMLElement, at: number | null): void {
  let nearest: HTMLElement | null = null
  for (const line of box.querySelectorAll<HTMLElement>('.log-line')) {
    line.classList.remove('at-cursor')
    const time = Number(line.dataset.at)
    if (at !== null && time <= at && (nearest === null || time >= Number(nearest.dataset.at))) nearest = line
  }
  nearest?.classList.add('at-cursor')
}

export function clockTime(at: number): string {
  const date = new Date(at)
  const two = (value: number) => String(value).padStart(2, '0')
  return `${two(date.getHours())}:${two(date.getMinutes())}:${two(date.getSeconds())}.${String(date.getMilliseconds()).padStart(3, '0')}`
}

function download(live: LiveDeployment, lines: readonly LogLine[]): void {
  save(
    live.number,
    lines.map(
      (line) =>
        `${new Date(line.at).toISOString()} ${line.server ?? '-'} ${line.source === null ? '' : `[${line.source}] `}${line.text}\n`,
    ),
  )
}

/** All that is stored, also what this page does not hold any more: page by page from the control plane. */
async function downloadWhole(number: number): Promise<void> {
  const parts: string[] = []
  let cursor: string | undefined
  do {
    const { events, next } = await client().call('deploymentLog', {
      params: { number },
      query: { limit: 5_000, ...(cursor === undefined ? {} : { cursor }) },
    })
    for (const event of events) parts.push(...textOf(event))
    cursor = next ?? undefined
  } while (cursor !== undefined)
  save(number, parts)
}

function textOf({ at, server, data }: DeploymentEvent): string[] {
  const line = (text: string) => `${new Date(at).toISOString()} ${server ?? '-'} ${text}\n`
  switch (data.kind) {
    case 'output':
      return data.text
        .replace(/\n$/, '')
        .split('\n')
        .map((text) => line(`[${data.source}] ${text}`))
    case 'state':
    case 'step':
      return [line(`${data.state}${data.failure ? `: ${data.failure.message}` : ''}`)]
    case 'note':
      return [line(data.text)]
    case 'waiting':
      return [line(data.waiting === null ? `goes on: ${data.by}` : `waits for a person: ${data.waiting.text}`)]
    default:
      return []
  }
}

function save(number: number, parts: string[]): void {
  const link = document.createElement('a')
  link.href = URL.createObjectURL(new Blob(parts, { type: 'text/plain' }))
  link.download = `deployment-${number}.log`
  link.click()
  setTimeout(() => URL.revokeObjectURL(link.href), 10_000)
}
