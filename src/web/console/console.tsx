import { useQuery } from '@tanstack/react-query'
import { useEffect, useRef, useState } from 'react'
import { useParams } from 'react-router'
import { asProblem, queries } from '../api/queries.ts'
import { useMay } from '../api/rights.ts'
import { client } from '../api/session.ts'
import { CommandLine } from '../components/command-line.tsx'
import { Empty } from '../components/empty.tsx'
import { Problem } from '../components/problem.tsx'
import { State } from '../components/state.tsx'
import { sayProblem } from '../components/toasts.tsx'
import { LogText } from '../deployment/log-text.tsx'
import { useTitle } from '../shell/use-title.ts'
import { fold, outcomeText, withEvent, type Answer, type Group } from './fold.ts'
import { chosenServers, optionsOf, type Choice } from './selection.ts'
import { ServerChoice } from './server-choice.tsx'
import './console.css'

/** A command on many servers at once; servers that answer the same are shown as one. */
export default function Console() {
  const { application = '', environment = '' } = useParams()
  useTitle(`Console · ${application} → ${environment}`)
  const place = { application, environment }
  const may = useMay('administer', place)
  const { data } = useQuery(queries.status(application, environment))
  const [line, setLine] = useState('')
  const [choice, setChoice] = useState<Choice>({ tags: [], servers: [] })
  const { answers, running, problem, start, interrupt } = useRun(place)
  if (!may)
    return (
      <Empty title="The console is for administrators">
        <p>Whoever runs commands on servers can do everything there.</p>
      </Empty>
    )
  const servers = data?.servers ?? []
  const tags = [
    ...new Set(servers.flatMap((server) => Object.entries(server.tags).map(([name, value]) => `${name}=${value}`))),
  ].sort()
  const groups = fold(answers.values())
  const chosen = chosenServers(servers, choice)
  const selection = choice.tags.length + choice.servers.length === 0 ? {} : { servers: chosen }
  const option = optionsOf(servers, choice)
  return (
    <div className="stack wide">
      <form
        className="card console-form"
        onSubmit={(event) => (event.preventDefault(), running || start(line, selection))}
        onKeyDown={(event) =>
          running && event.ctrlKey && event.key === 'c' && getSelection()?.isCollapsed !== false && interrupt()
        }
      >
        <input
          className="input mono grow"
          aria-label="Command"
          placeholder="uptime"
          required
          maxLength={100_000}
          autoComplete="off"
          spellCheck={false}
          value={line}
          onChange={(event) => setLine(event.target.value)}
        />
        <ServerChoice
          tags={tags}
          servers={servers.map(({ name }) => name)}
          choice={choice}
          chosen={chosen}
          onChange={setChoice}
        />
        {running ? (
          <button type="button" className="button danger" onClick={interrupt}>
            Interrupt <kbd>Ctrl C</kbd>
          </button>
        ) : (
          <button type="submit" className="button primary" disabled={servers.length > 0 && chosen.length === 0}>
            Run
          </button>
        )}
      </form>
      <div className="filters">
        <span className="grow muted" role="status">
          {answers.size === 0 ? 'It runs as the user of the agent, and stands in the audit log.' : summary(groups)}
        </span>
        <CommandLine command={`dploy exec ${environment}${option} -- ${line || 'uptime'}`} />
      </div>
      {problem ? <Problem report={problem} /> : null}
      {groups.map((group) => (
        <Same key={group.servers[0]} group={group} total={answers.size} />
      ))}
    </div>
  )
}

/** `28 servers: code 0 · web3: code 2`. */
function summary(groups: readonly Group[]): string {
  const byOutcome = Map.groupBy(groups, ({ outcome }) => outcomeText(outcome))
  return [...byOutcome]
    .map(([text, members]) => `${count(members.flatMap(({ servers }) => servers))}: ${text}`)
    .join(' · ')
}

const count = (servers: readonly string[]) => (servers.length === 1 ? servers[0]! : `${servers.length} servers`)

function Same({ group, total }: { group: Group; total: number }) {
  const { servers, text, outcome } = group
  const good = outcome !== null && outcome.code === 0
  return (
    <section className="card" aria-label={`What ${count(servers)} answered`}>
      <header>
        <h2 title={servers.join(', ')}>
          {servers.length === total && total > 1 ? `all ${total} servers` : count(servers)}
        </h2>
        {servers.length > 1 ? <span className="muted cut grow">{servers.join(', ')}</span> : <span className="grow" />}
        <State tone={outcome === null ? 'busy' : good ? 'good' : 'bad'}>{outcomeText(outcome)}</State>
      </header>
      {outcome?.problem ? (
        <div className="body">
          <Problem report={outcome.problem} />
        </div>
      ) : null}
      {text === '' ? null : (
        <pre className="answer" tabIndex={0} aria-label={`Output of ${count(servers)}`}>
          <LogText text={text} search="" />
        </pre>
      )}
    </section>
  )
}

function useRun(place: { application: string; environment: string }) {
  const [answers, setAnswers] = useState<ReadonlyMap<string, Answer>>(new Map())
  const [running, setRunning] = useState(false)
  const [problem, setProblem] = useState<ReturnType<typeof asProblem> | null>(null)
  const run = useRef<{ id: string | null; stop: AbortController } | null>(null)
  // Whoever leaves the page ends what they started, as closing a terminal does.
  useEffect(() => () => run.current?.stop.abort(), [])
  const start = (line: string, selection: { servers?: string[]; tags?: Record<string, string> }) => {
    const own = { id: null as string | null, stop: new AbortController() }
    run.current = own
    setRunning(true)
    setProblem(null)
    setAnswers(new Map())
    let seen: ReadonlyMap<string, Answer> = new Map()
    let frame = 0
    const read = async () => {
      for await (const event of client().stream(
        'exec',
        { params: place, body: { command: { line }, on: selection } },
        { signal: own.stop.signal },
      )) {
        if (event.kind === 'started') own.id = event.run
        seen = withEvent(seen, event)
        frame ||= requestAnimationFrame(() => ((frame = 0), setAnswers(seen)))
      }
    }
    void read()
      .catch((error: unknown) => own.stop.signal.aborted || setProblem(asProblem(error)))
      .finally(() => {
        cancelAnimationFrame(frame)
        if (run.current !== own || own.stop.signal.aborted) return
        setAnswers(seen)
        setRunning(false)
      })
  }
  const interrupt = () => {
    const id = run.current?.id
    if (id)
      void client()
        .call('interruptRun', { params: { run: id } })
        .catch(sayProblem)
    else run.current?.stop.abort()
  }
  return { answers, running, problem, start, interrupt }
}
