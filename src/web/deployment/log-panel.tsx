import { useVirtualizer } from '@tanstack/react-virtual'
import { useDeferredValue, useEffect, useRef, useState } from 'react'
import { Icon } from '../components/icon.tsx'
import type { LiveDeployment } from './live-deployment.ts'
import type { LogFilter, LogLine } from './log-store.ts'
import { LogText } from './log-text.tsx'
import type { Cursor } from './time-axis.ts'

const lineHeight = 22
const kinds = [['', 'Everything'], ['step', 'Steps'], ['note', 'Notes'], ['output', 'Output of commands']] as const

/** The log of all servers or one: searched, followed, downloaded. Only the lines that are in sight are in the page. */
export function LogPanel({ live, version, server, onServer, cursor }: { live: LiveDeployment; version: number; server: string | null; onServer: (name: string | null) => void; cursor: Cursor }) {
  const [kind, setKind] = useState<LogLine['kind'] | null>(null)
  const [text, setText] = useState('')
  const search = useDeferredValue(text)
  const [follow, setFollow] = useState(true)
  const filter: LogFilter = { server, kind, text: search }
  const lines = live.log.shown(filter)
  const box = useRef<HTMLDivElement>(null)
  const list = useVirtualizer({ count: lines.length, getScrollElement: () => box.current, estimateSize: () => lineHeight, overscan: 12 })

  useEffect(() => {
    if (follow && lines.length > 0) box.current!.scrollTop = lines.length * lineHeight
  }, [follow, version, lines.length, search, server, kind])

  useEffect(() => cursor.watch((at) => highlight(box.current!, at === null ? null : at + (live.began ?? 0))), [cursor, live])

  return (
    <section className="card log" aria-labelledby="log-title">
      <header>
        <h2 id="log-title">Log</h2>
        <span className="muted number">{lines.length.toLocaleString('en')} {lines.length === 1 ? 'line' : 'lines'}{live.log.dropped > 0 ? `; ${live.log.dropped.toLocaleString('en')} older ones are not shown` : ''}</span>
        <span className="grow" />
        <div className="log-tools">
          <select className="input small" aria-label="Which server" value={server ?? ''} onChange={(event) => onServer(event.target.value || null)}>
            <option value="">All servers</option>
            {live.order.map(({ name }) => <option key={name}>{name}</option>)}
          </select>
          <select className="input small" aria-label="Which lines" value={kind ?? ''} onChange={(event) => setKind((event.target.value || null) as LogLine['kind'] | null)}>
            {kinds.map(([value, title]) => <option key={value} value={value}>{title}</option>)}
          </select>
          <input className="input small" type="search" data-search aria-label="Search the log" placeholder="Search" value={text} onChange={(event) => setText(event.target.value)} />
          <button type="button" className="button small" aria-pressed={follow} onClick={() => setFollow(!follow)}><Icon name="follow" size={14} />{follow ? 'Following' : 'Follow'}</button>
          <button type="button" className="button small" onClick={() => download(live, lines)}><Icon name="download" size={14} />Download</button>
        </div>
      </header>
      <div
        ref={box} className="log-lines" tabIndex={0} role="log" aria-live="off" aria-label="Lines of the log"
        onWheel={(event) => event.deltaY < 0 && setFollow(false)}
        onKeyDown={(event) => ['ArrowUp', 'PageUp', 'Home'].includes(event.key) && setFollow(false)}
        onPointerLeave={() => cursor.set(null)}
      >
        {lines.length === 0 ? <p className="muted log-nothing">{search === '' ? 'Nothing yet.' : `No line has "${search}".`}</p> : null}
        <div className="log-space" style={{ height: list.getTotalSize() }}>
          {list.getVirtualItems().map(({ index, start, key }) => {
            const line = lines[index]!
            return (
              <div key={key} className={`log-line tone-${line.tone} kind-${line.kind}`} data-at={line.at} style={{ transform: `translateY(${start}px)` }} onPointerEnter={() => live.began !== null && cursor.set(line.at - live.began)}>
                <span className="log-time">{clockTime(line.at)}</span>
                <span className="log-server cut">{line.server ?? line.source ?? ''}</span>
                <span className="log-text"><LogText text={line.text} search={search} /></span>
              </div>
            )
          })}
        </div>
      </div>
    </section>
  )
}

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
  const text = lines.map((line) => `${new Date(line.at).toISOString()} ${line.server ?? '-'} ${line.source === null ? '' : `[${line.source}] `}${line.text}\n`)
  const link = document.createElement('a')
  link.href = URL.createObjectURL(new Blob(text, { type: 'text/plain' }))
  link.download = `deployment-${live.number}.log`
  link.click()
  setTimeout(() => URL.revokeObjectURL(link.href), 10_000)
}
