import { Link } from 'react-router'
import { State } from '../components/state.tsx'
import { Ago } from '../components/time.tsx'
import type { Need } from './needs.ts'

/** More are behind a press. */
const shown = 6

/** What waits for a person, on top of everything else. */
export function NeedsYou({ needs }: { needs: readonly Need[] }) {
  if (needs.length === 0) return null
  return (
    <section className="card needs" aria-labelledby="needs-title">
      <header>
        <h2 className="grow" id="needs-title">
          Needs you <span className="muted number">{needs.length}</span>
        </h2>
      </header>
      <ul>
        {needs.slice(0, shown).map((need) => (
          <Item key={need.key} need={need} />
        ))}
      </ul>
      {needs.length > shown ? (
        <details>
          <summary>{needs.length - shown} more</summary>
          <ul>
            {needs.slice(shown).map((need) => (
              <Item key={need.key} need={need} />
            ))}
          </ul>
        </details>
      ) : null}
    </section>
  )
}

function Item({ need }: { need: Need }) {
  const { application, environment } = need.where
  const place = `${application} → ${environment}`
  return (
    <li className="need">
      <strong className="cut need-place" title={place}>
        {place}
      </strong>
      <State tone={need.tone}>{need.text}</State>
      <span className="muted cut grow" title={need.detail}>
        {need.detail}
      </span>
      {need.since === null ? null : (
        <span className="muted">
          <Ago at={need.since} />
        </span>
      )}
      <Link className="button small" to={need.to} aria-label={`${need.action}: ${place} ${need.text}`}>
        {need.action}
      </Link>
    </li>
  )
}
