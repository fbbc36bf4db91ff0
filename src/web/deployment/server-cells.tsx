import { memo, useRef, type KeyboardEvent } from 'react'
import { stepTones } from '../components/state.tsx'
import type { LiveServer } from './live-deployment.ts'

/** Many servers as cells that move through their phases, batch by batch. One cell is a stop for the Tab key; arrows go on from there. */
export function ServerCells({ batches, picked, onPick }: { batches: { title: string; servers: LiveServer[] }[]; picked: string | null; onPick: (name: string) => void }) {
  const box = useRef<HTMLDivElement>(null)
  const stop = picked ?? batches[0]?.servers[0]?.name
  const move = (event: KeyboardEvent) => {
    const by = { ArrowRight: 1, ArrowLeft: -1, Home: -Infinity, End: Infinity }[event.key]
    if (by === undefined) return
    const cells = [...box.current!.querySelectorAll<HTMLElement>('.cell')]
    const index = cells.indexOf(document.activeElement as HTMLElement)
    const next = cells[Math.min(cells.length - 1, Math.max(0, index + by))]
    next?.focus()
    event.preventDefault()
  }
  return (
    <div ref={box} className="cells" onKeyDown={move}>
      {batches.map(({ title, servers }) => (
        <section key={title} className="cell-batch" aria-label={title}>
          <h3 className="muted">
            {title} <span className="number">{servers.filter((server) => settled.has(server.state)).length} of {servers.length}</span>
          </h3>
          <div className="cell-list">
            {servers.map((server) => (
              <Cell key={server.name} name={server.name} state={server.state} picked={picked === server.name} stop={server.name === stop} onPick={onPick} />
            ))}
          </div>
        </section>
      ))}
    </div>
  )
}

const settled: ReadonlySet<string> = new Set(['switched', 'unchanged', 'failed', 'quarantined', 'unreachable', 'reverted'])

const Cell = memo(function Cell({ name, state, picked, stop, onPick }: { name: string; state: LiveServer['state']; picked: boolean; stop: boolean; onPick: (name: string) => void }) {
  const text = `${name}: ${stepTones[state].text}`
  return <button type="button" className={`cell is-${state}`} aria-pressed={picked} aria-label={text} title={text} tabIndex={stop ? 0 : -1} onClick={() => onPick(name)} />
})
