import { memo, useRef, type KeyboardEvent } from 'react'
import { stateOf, type ServerGroup } from './rows.ts'

/** Up to so many, cells have their server's name on them. */
const named = 240

/** Many servers as cells in the colour of their state. One cell is a stop for the Tab key; arrows go on from there. */
export function ServerGrid({ groups, onOpen }: { groups: readonly ServerGroup[]; onOpen: (name: string) => void }) {
  const box = useRef<HTMLDivElement>(null)
  const count = groups.reduce((sum, { servers }) => sum + servers.length, 0)
  const stop = groups[0]?.servers[0]?.name
  const move = (event: KeyboardEvent) => {
    const by = { ArrowRight: 1, ArrowLeft: -1, Home: -Infinity, End: Infinity }[event.key]
    if (by === undefined) return
    const cells = [...box.current!.querySelectorAll<HTMLElement>('.server-tile')]
    const index = cells.indexOf(document.activeElement as HTMLElement)
    cells[Math.min(cells.length - 1, Math.max(0, index + by))]?.focus()
    event.preventDefault()
  }
  return (
    <div ref={box} className="stack wide" onKeyDown={move}>
      {groups.map(({ title, servers }) => (
        <section
          key={title}
          className="card server-tiles"
          aria-label={title === '' ? 'Servers' : `Servers with ${title}`}
        >
          {title === '' ? null : (
            <h3>
              {title} <span className="muted number">{servers.length}</span>
            </h3>
          )}
          <div className={count > named ? 'tile-list small' : 'tile-list'}>
            {servers.map((server) => {
              const { tone, text } = stateOf(server)
              return (
                <Tile
                  key={server.name}
                  name={server.name}
                  tone={tone}
                  text={text}
                  small={count > named}
                  stop={server.name === stop}
                  onOpen={onOpen}
                />
              )
            })}
          </div>
        </section>
      ))}
    </div>
  )
}

const Tile = memo(function Tile({
  name,
  tone,
  text,
  small,
  stop,
  onOpen,
}: {
  name: string
  tone: string
  text: string
  small: boolean
  stop: boolean
  onOpen: (name: string) => void
}) {
  return (
    <button
      type="button"
      className={`server-tile is-${tone}`}
      aria-label={`${name}: ${text}`}
      title={`${name}: ${text}`}
      tabIndex={stop ? 0 : -1}
      onClick={() => onOpen(name)}
    >
      {small ? null : <span className="cut">{name}</span>}
    </button>
  )
})
