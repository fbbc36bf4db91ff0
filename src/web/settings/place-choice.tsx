import { useQuery } from '@tanstack/react-query'
import type { Place } from '../../protocol/api/access.ts'
import { queries } from '../api/queries.ts'

/** Chooses an environment, or all. */
export function PlaceChoice({
  id,
  label,
  value,
  onChange,
}: {
  id: string
  /** Where no label names it. */ label?: string
  value: string
  onChange: (value: string) => void
}) {
  const { data } = useQuery(queries.environments())
  return (
    <select
      id={id}
      aria-label={label}
      className="input"
      value={value}
      onChange={(event) => onChange(event.target.value)}
    >
      <option value="">Everywhere</option>
      {(data ?? []).map((one) => (
        <option key={textOf(one)} value={textOf(one)}>
          {one.application} → {one.environment}
        </option>
      ))}
    </select>
  )
}

/** Names hold no slash. */
const textOf = ({ application, environment }: Place) => `${application}/${environment}`

export function placeFrom(value: string): Place | null {
  const [application, environment] = value.split('/')
  return application && environment ? { application, environment } : null
}

export function placeWords(place: Place | null): string {
  return place === null ? 'everywhere' : `${place.application} → ${place.environment}`
}
