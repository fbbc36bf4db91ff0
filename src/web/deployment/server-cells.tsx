import { memo, useRef, useSyncExternalStore, type KeyboardEvent } from 'react'
import { stepTones } from '../components/state.tsx'
import type { LiveBatch, LiveServer } from './live-server.ts'
import { useWatched } from './use-live.ts'

/** Many servers as cells that move through their phases, batch by batch. One cell is a stop for the Tab key; arrows go on from there. */
export const ServerCells = memo(function ServerCells({
  batches,
  state,
  picked,
  onPick,
}: {
  batches: readonly LiveBatch[]
  state: LiveServer['state'] | null
  picked: string | null
  onPick: (name: string) => void
}) {
  const box = useRef<HTMLDivElement>(null)
  const stop = picked ?? batches[0]?.servers[0]?.name ?? null
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
    <div ref={box} className={`cells ${state === null ? '' : 'filtered'}`} onKeyDown={move}>
      {batches.map((batch) => (
        <Batch
          key={batch.title}
          batch={batch}
          state={state}
          picked={within(batch, picked)}
          stop={within(batch, stop)}
          onPick={onPick}
        />
      ))}
    </div>
  )
})

/** Drawn again when servers come or settle; each cell draws itself. */
const Batch = memo(function Batch({
  batch,
  state,
  picked,
  stop,
  onPick,
}: {
  batch: LiveBatch
  state: LiveServer['state'] | null
  picked: string | null
  stop: string | null
  onPick: (name: string) => void
}) {
  useWatched(batch)
  return (
    <section className="cell-batch" aria-label={batch.title}>
      <h3 className="muted">
        {batch.title}{' '}
        <span className="number">
          {batch.settled} of {batch.servers.length}
        </span>
      </h3>
      <div className="cell-list">
        {batch.servers.map((server) => (
          <Cell
            key={server.name}
            server={server}
            only={state}
            picked={picked === server.name}
            stop={stop === server.name}
            onPick={onPick}
          />
        ))}
      </div>
    </section>
  )
})

const Cell = memo(function Cell({
  server,
  only,
  picked,
  stop,
  onPick,
}: {
  server: LiveServer
  only: LiveServer['state'] | null
  picked: boolean
  stop: boolean
  onPick: (name: string) => void
}) {
  const { name } = server
  // What else changes of it is not shown here.
  const state = useSyncExternalStore(server.subscribe, () => server.state)
  if (only !== null && only !== state) return null
  const text = `${name}: ${stepTones[state].text}`
  return (
    <button
      type="button"
      className={`cell is-${state}`}
      aria-pressed={picked}
      aria-label={text}
      title={text}
      tabIndex={stop ? 0 : -1}
      onClick={() => onPick(name)}
    />
  )
})

/** The name if it is one of the batch's: others need not draw again. */
function within(batch: LiveBatch, name: string | null): string | null {
  return name !== null && batch.servers.some((server) => server.name === name) ? name : null
}
