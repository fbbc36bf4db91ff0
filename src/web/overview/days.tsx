import { useQuery } from '@tanstack/react-query'
import { queries } from '../api/queries.ts'
import { barsOf, shownDays } from './day-bars.ts'

const height = 28

/** How many deployments an environment had on each of the last days, and how many of them failed or went back. */
export function Days({ application, environment }: { application: string; environment: string }) {
  const { data } = useQuery(queries.days())
  const own = (data?.days ?? []).filter((one) => one.application === application && one.environment === environment)
  const bars = barsOf(own, data?.today ?? 0, height)
  const [all, bad] = [own.reduce((sum, one) => sum + one.all, 0), own.reduce((sum, one) => sum + one.bad, 0)]
  const text = `${all} ${all === 1 ? 'deployment' : 'deployments'} in ${shownDays} days${bad > 0 ? `, ${bad} failed or rolled back` : ''}`
  return (
    <svg className="days" width={shownDays * 6} height={height} role="img" aria-label={text}>
      <title>{text}</title>
      {bars.map((bar, index) => (
        <g key={index}>
          <rect className="day" x={index * 6} width="4" rx="1" y={height - bar.all} height={bar.all} />
          {bar.bad > 0 ? (
            <rect className="day bad" x={index * 6} width="4" rx="1" y={height - bar.bad} height={bar.bad} />
          ) : null}
        </g>
      ))}
    </svg>
  )
}
