import { useVirtualizer } from '@tanstack/react-virtual'
import { useDeferredValue, useEffect, useRef, useState } from 'react'
import { useParams, useSearchParams } from 'react-router'
import { useQuery } from '@tanstack/react-query'
import { DployError } from '../../protocol/errors.ts'
import { queries } from '../api/queries.ts'
import { client } from '../api/session.ts'
import { CommandLine } from '../components/command-line.tsx'
import { Icon } from '../components/icon.tsx'
import { Problem } from '../components/problem.tsx'
import { clockTime } from '../deployment/log-panel.tsx'
import { LogStore } from '../deployment/log-store.ts'
import { LogText } from '../deployment/log-text.tsx'
import { useTitle } from '../shell/use-title.ts'
import '../deployment/deployment.css'

const lineHeight = 22

/** What the application prints, on all servers or one, as it comes. */
export default function Logs() {
  const { application = '', environment = '' } = useParams()
  useTitle(`Logs · ${application} → ${environment}`)
  const [search, setSearch] = useSearchParams()
  const server = search.get('server') ?? ''
  const { data: environments } = useQuery(queries.environments())
  const names =
    environments?.find((one) => one.application === application && one.environment === environment)?.servers ?? []
  return (
    <section className="card log" aria-label="What the application prints">
      <Lines
        key={`${application} ${environment} ${server}`}
        application={application}
        environment={environment}
        server={server}
      >
        <select
          className="input small"
          aria-label="Which server"
          value={server}
          onChange={(event) =>
            setSearch(event.target.value === '' ? {} : { server: event.target.value }, { replace: true })
          }
        >
          <option value="">All servers</option>
          {names.map((name) => (
            <option key={name}>{name}</option>
          ))}
        </select>
      </Lines>
    </section>
  )
}

/** The lines of all servers, or of one; what is given stands among its tools. */
export function Lines({
  application,
  environment,
  server,
  children,
}: {
  application: string
  environment: string
  server: string
  children: React.ReactNode
}) {
  const [store] = useState(() => new LogStore())
  const [version, setVersion] = useState(0)
  const [problem, setProblem] = useState<DployError | null>(null)
  const [text, setText] = useState('')
  const [follow, setFollow] = useState(true)
  const wanted = useDeferredValue(text)
  const lines = store.shown({ server: null, kind: null, source: null, text: wanted })
  const box = useRef<HTMLDivElement>(null)
  const list = useVirtualizer({
    count: lines.length,
    getScrollElement: () => box.current,
    estimateSize: () => lineHeight,
    overscan: 12,
  })

  useEffect(() => {
    const stop = new AbortController()
    let frame = 0
    const read = async () => {
      let seq = 0
      const query = { lines: 500, follow: 'true' as const, ...(server === '' ? {} : { server }) }
      for await (const line of client().stream(
        'logs',
        { params: { application, environment }, query },
        { signal: stop.signal },
      )) {
        store.add({
          seq: seq++,
          at: line.at ?? Date.now(),
          server: line.server,
          kind: 'output',
          source: null,
          text: line.text,
          tone: 'plain',
        })
        frame ||= requestAnimationFrame(() => ((frame = 0), setVersion((before) => before + 1)))
      }
    }
    read().catch(
      (error: unknown) =>
        !stop.signal.aborted &&
        setProblem(error instanceof DployError ? error : new DployError('internal', String(error))),
    )
    return () => (stop.abort(), cancelAnimationFrame(frame))
  }, [application, environment, server, store])
  useEffect(() => {
    if (follow && lines.length > 0) box.current!.scrollTop = lines.length * lineHeight
  }, [follow, version, lines.length, wanted])

  return (
    <>
      <header>
        <span className="muted number">
          {lines.length.toLocaleString('en')} {lines.length === 1 ? 'line' : 'lines'}
        </span>
        <span className="grow" />
        <div className="log-tools">
          {children}
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
          <CommandLine command={`dploy logs ${environment} --follow${server === '' ? '' : ` --on ${server}`}`} />
        </div>
      </header>
      {problem ? (
        <div className="body">
          <Problem report={problem} />
        </div>
      ) : null}
      <div
        ref={box}
        className="log-lines tall"
        tabIndex={0}
        role="log"
        aria-live="off"
        aria-label="Lines of the log"
        onWheel={(event) => event.deltaY < 0 && setFollow(false)}
        onKeyDown={(event) => ['ArrowUp', 'PageUp', 'Home'].includes(event.key) && setFollow(false)}
      >
        {lines.length === 0 ? (
          <p className="muted log-nothing">
            {wanted === '' ? 'Nothing printed yet. New lines come by themselves.' : `No line has "${wanted}".`}
          </p>
        ) : null}
        <div className="log-space" style={{ height: list.getTotalSize() }}>
          {list.getVirtualItems().map(({ index, start, key }) => {
            const line = lines[index]!
            return (
              <div key={key} className="log-line" style={{ transform: `translateY(${start}px)` }}>
                <span className="log-time">{clockTime(line.at)}</span>
                <span className="log-server cut">{line.server}</span>
                <span className="log-text">
                  <LogText text={line.text} search={wanted} />
                </span>
              </div>
            )
          })}
        </div>
      </div>
    </>
  )
}
