import { useEffect, useId, useRef, useState, useSyncExternalStore } from 'react'
import { Link, useParams } from 'react-router'
import { connection } from '../api/connection.ts'
import { useMay } from '../api/rights.ts'
import { client } from '../api/session.ts'
import { CommandLine } from '../components/command-line.tsx'
import { Empty } from '../components/empty.tsx'
import { Problem } from '../components/problem.tsx'
import { State, type Tone } from '../components/state.tsx'
import { outcomeText } from '../console/fold.ts'
import { placeOf } from '../overview/place.ts'
import { useDark } from '../shell/theme.ts'
import { useTitle } from '../shell/use-title.ts'
import { Screen } from './screen.ts'
import { ShellSession, type ShellState } from './shell-session.ts'
import './terminal.css'

const readerKey = 'dploy-terminal-reader'

/** A shell on a server, in the browser. It lasts as long as the page. */
export default function TerminalPage() {
  const { application = '', environment = '', server = '' } = useParams()
  useTitle(`Terminal · ${server}`)
  const may = useMay('administer', { application, environment })
  const [sudo, setSudo] = useState(false)
  if (!may)
    return (
      <Empty
        title="Terminals are for administrators"
        action={
          <Link className="button" to={`${placeOf({ application, environment })}/servers`}>
            Servers
          </Link>
        }
      >
        <p>Whoever has a shell on a server can do everything there.</p>
      </Empty>
    )
  return (
    <Shell
      key={`${application} ${environment} ${server} ${sudo}`}
      place={{ application, environment, server }}
      sudo={sudo}
      onSudo={setSudo}
    />
  )
}

interface ShellProps {
  place: { application: string; environment: string; server: string }
  sudo: boolean
  onSudo: (sudo: boolean) => void
}

function Shell({ place, sudo, onSudo }: ShellProps) {
  const { environment, server } = place
  const box = useRef<HTMLDivElement>(null)
  const card = useRef<HTMLElement>(null)
  const leave = useRef<HTMLButtonElement>(null)
  const screen = useRef<Screen | null>(null)
  const session = useRef<ShellSession | null>(null)
  const [state, setState] = useState<ShellState>({ kind: 'opening' })
  const [reader, setReader] = useState(() => localStorage.getItem(readerKey) === 'on')
  const [large, setLarge] = useState(false)
  const hint = useId()
  const dark = useDark()
  const lost = useSyncExternalStore(connection.subscribe, () => connection.lostSince !== null)
  const over = state.kind !== 'opening' && state.kind !== 'open'

  const begin = (shown: Screen) => {
    session.current?.end()
    shown.takesKeys = true
    session.current = new ShellSession({
      client: client(),
      place,
      sudo,
      size: shown.size,
      show: (data) => shown.show(data),
      onState: (next) => (setState(next), (shown.takesKeys = next.kind === 'opening' || next.kind === 'open')),
    })
    shown.focus()
  }
  useEffect(() => {
    let gone = false
    const opening = Screen.open({
      box: box.current!,
      label: `Terminal on ${server}`,
      describedBy: hint,
      screenReader: reader,
      onTyped: (bytes) => session.current?.type(bytes),
      onResize: (size) => session.current?.resize(size),
      onLeave: () => leave.current?.focus(),
    })
    void opening.then((made) => {
      if (gone) return made[Symbol.dispose]()
      screen.current = made
      begin(made)
    })
    return () => {
      gone = true
      session.current?.end()
      screen.current?.[Symbol.dispose]()
      screen.current = null
    }
    // The shell lasts as long as the page; another server or user is another one (`key`).
  }, [])
  useEffect(() => screen.current?.recolor(), [dark])
  useEffect(() => {
    if (screen.current) screen.current.screenReader = reader
    localStorage.setItem(readerKey, reader ? 'on' : 'off')
  }, [reader])
  useEffect(() => {
    // Ctrl-W deletes a word in a shell and closes a tab in a browser.
    const ask = (event: BeforeUnloadEvent) => event.preventDefault()
    if (over) return
    addEventListener('beforeunload', ask)
    return () => removeEventListener('beforeunload', ask)
  }, [over])
  useEffect(() => {
    const onChange = () => setLarge(document.fullscreenElement === card.current)
    document.addEventListener('fullscreenchange', onChange)
    return () => document.removeEventListener('fullscreenchange', onChange)
  }, [])

  const again = () => {
    screen.current!.clear()
    begin(screen.current!)
  }
  const end = () => {
    session.current?.end()
    setState({ kind: 'ended', outcome: { server, code: null, signal: null, ms: null, problem: null } })
    screen.current!.takesKeys = false
  }
  const { tone, text } = wordsOf(state, lost)
  return (
    <section ref={card} className="card terminal" aria-label={`Terminal on ${server}`}>
      <header>
        <h2>{server}</h2>
        <span role="status">
          <State tone={tone}>{text}</State>
        </span>
        <span className="grow" />
        <div className="terminal-tools">
          <label className="check">
            <input type="checkbox" checked={sudo} onChange={(event) => onSudo(event.target.checked)} /> as root
          </label>
          <button
            type="button"
            className="button small"
            aria-pressed={reader}
            title="Read what it shows aloud"
            onClick={() => setReader(!reader)}
          >
            Screen reader
          </button>
          <button
            type="button"
            className="button small"
            onClick={() => void enlarge(card.current!, large).then(() => screen.current?.focus())}
          >
            {large ? 'Smaller' : 'Full screen'}
          </button>
          {over ? (
            <button ref={leave} type="button" className="button small primary" onClick={again}>
              Open again
            </button>
          ) : (
            <button ref={leave} type="button" className="button small danger" onClick={end}>
              End
            </button>
          )}
          {large ? null : (
            <CommandLine command={`dploy shell ${server} --environment ${environment}${sudo ? ' --sudo' : ''}`} />
          )}
        </div>
      </header>
      {state.kind === 'failed' ? (
        <div className="body">
          <Problem report={state.problem} />
        </div>
      ) : null}
      {state.kind === 'lost' ? (
        <div className="body">
          <Problem
            report={{
              code: 'connection.closed',
              message: 'The connection to the shell is lost. It ends on the server, with what ran in it',
              where: server,
              fix: 'Open it again; what must outlive a lost connection runs in tmux, screen or systemd-run',
            }}
          />
        </div>
      ) : null}
      <div ref={box} className="terminal-box" />
      <div className="terminal-keys">
        {(
          [
            ['Ctrl C', '\u0003'],
            ['Tab', '\t'],
            ['Esc', '\u001b'],
            ['↑', '\u001b[A'],
          ] as const
        ).map(([name, sent]) => (
          <button
            key={name}
            type="button"
            className="button small"
            disabled={over}
            onClick={() => screen.current?.press(sent)}
          >
            {name}
          </button>
        ))}
      </div>
      <p id={hint} className="terminal-hint muted">
        <kbd>Ctrl Shift X</kbd> leaves the terminal, <kbd>Ctrl Shift C</kbd> copies, <kbd>Ctrl Shift V</kbd> pastes.
        Leaving the page ends the shell. It stands in the audit log, what is typed does not.
      </p>
    </section>
  )
}

function wordsOf(state: ShellState, lost: boolean): { tone: Tone; text: string } {
  switch (state.kind) {
    case 'opening':
      return { tone: 'busy', text: 'opening…' }
    case 'open':
      return lost ? { tone: 'warn', text: 'not connected' } : { tone: 'good', text: 'open' }
    case 'ended':
      return {
        tone: 'idle',
        text:
          state.outcome.code === null && state.outcome.signal === null
            ? 'ended'
            : `ended: ${outcomeText(state.outcome)}`,
      }
    case 'lost':
      return { tone: 'bad', text: 'connection lost' }
    case 'failed':
      return { tone: 'bad', text: 'not opened' }
  }
}

/** The whole screen; where the browser can, with the keys that it else keeps for itself, such as Ctrl-W. */
async function enlarge(element: HTMLElement, large: boolean): Promise<void> {
  const { keyboard } = navigator as { keyboard?: { lock?: (keys: string[]) => Promise<void>; unlock?: () => void } }
  try {
    if (large) return void (keyboard?.unlock?.(), await document.exitFullscreen())
    await element.requestFullscreen()
    await keyboard?.lock?.(['KeyW', 'KeyT', 'KeyN'])
  } catch {
    // Without it the terminal stays as large as it is.
  }
}
