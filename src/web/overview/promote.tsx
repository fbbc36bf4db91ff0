import { Link } from 'react-router'
import type { EnvironmentSummary } from '../../protocol/api/environments.ts'
import type { OverviewEnvironment } from '../../protocol/api/overview.ts'
import { mayAt } from '../../protocol/api/access.ts'
import { useWho } from '../api/rights.ts'
import { placeOf } from './place.ts'

/** The environments of the application that run something else than this one, to which what runs here can be promoted. */
export function otherPlaces(summary: EnvironmentSummary, all: readonly EnvironmentSummary[]): EnvironmentSummary[] {
  const { wanted } = summary
  if (wanted === null) return []
  return all.filter(
    (one) =>
      one.application === summary.application &&
      one.environment !== summary.environment &&
      (one.wanted === null || !isSame(one.wanted, wanted)),
  )
}

/** One commit is one artifact; what was uploaded is compared by nothing that is known here. */
function isSame(a: NonNullable<EnvironmentSummary['wanted']>, b: NonNullable<EnvironmentSummary['wanted']>): boolean {
  return a.revision.commit !== null && a.revision.commit === b.revision.commit
}

/** Where `promote` leads: the page of a deployment that takes over what another environment runs. */
export function promotionTo(target: EnvironmentSummary, from: EnvironmentSummary): string {
  return `${placeOf(target)}/deploy?promote=${encodeURIComponent(from.environment)}`
}

/** `3 commits ahead of production`. */
export function Ahead({ ahead: counts }: { ahead: OverviewEnvironment['ahead'] }) {
  if (counts === null) return null
  const { of, ahead, behind } = counts
  const count = (commits: number) => `${commits >= 50 ? '50 or more' : commits} ${commits === 1 ? 'commit' : 'commits'}`
  const parts = [
    ahead > 0 ? `${count(ahead)} ahead of ${of}` : '',
    behind > 0 ? `${count(behind)} behind${ahead > 0 ? '' : ` ${of}`}` : '',
  ].filter(Boolean)
  return <span className="muted">{parts.join(', ')}</span>
}

/** Promotes what runs here to where something else runs. */
export function Promote({ summary, all }: { summary: EnvironmentSummary; all: readonly EnvironmentSummary[] }) {
  const who = useWho()
  const targets = otherPlaces(summary, all).filter((one) => mayAt(who?.rights ?? [], 'deploy', one))
  if (targets.length !== 1) return null
  const [target] = targets
  return (
    <Link
      className="button"
      to={promotionTo(target!, summary)}
      aria-label={`Promote ${summary.application} from ${summary.environment} to ${target!.environment}`}
    >
      Promote…
    </Link>
  )
}
