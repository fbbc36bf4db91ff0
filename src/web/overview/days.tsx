import type { DeploymentSummary } from '../../protocol/deployment.ts'

const days = 14
const dayMs = 86_400_000

/** How many deployments each of the last days had, and whether one of them failed. */
export function Days({ deployments }: { deployments: readonly DeploymentSummary[] }) {
  const midnight = new Date().setHours(24, 0, 0, 0)
  const counts = Array.from({ length: days }, (_, index) => {
    const from = midnight - (days - index) * dayMs
    const own = deployments.filter((one) => one.createdAt >= from && one.createdAt < from + dayMs)
    return { all: own.length, bad: own.filter((one) => one.state === 'failed' || one.state === 'rolled_back').length }
  })
  const most = Math.max(4, ...counts.map(({ all }) => all))
  const total = counts.reduce((sum, { all }) => sum + all, 0)
  const bad = counts.reduce((sum, one) => sum + one.bad, 0)
  const text = `${total} ${total === 1 ? 'deployment' : 'deployments'} in ${days} days${bad > 0 ? `, ${bad} failed or rolled back` : ''}`
  return (
    <svg className="days" width={days * 6} height="28" role="img" aria-label={text}>
      <title>{text}</title>
      {counts.map(({ all, bad: failed }, index) => {
        const height = all === 0 ? 1 : Math.max(3, (all / most) * 28)
        const red = all === 0 ? 0 : (failed / all) * height
        return (
          <g key={index}>
            <rect className="day" x={index * 6} width="4" rx="1" y={28 - height} height={height} />
            {red > 0 ? <rect className="day bad" x={index * 6} width="4" rx="1" y={28 - red} height={red} /> : null}
          </g>
        )
      })}
    </svg>
  )
}
