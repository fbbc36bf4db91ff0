import type { Plan } from '../../protocol/deployment.ts'
import { duration } from '../components/time.tsx'
import { balancerNames } from '../environment/settings/balancer-names.ts'
import type { Preview } from './changes.tsx'

/** Why no server switches. One that could not be asked is not said to run anything. */
function idleWords({ unchanged, unreachable, stage }: Plan): string {
  if (unchanged.length > 0)
    return unreachable.length === 0
      ? 'No server has to switch: all run it already.'
      : `No server that answers has to switch. ${counted(unreachable.length)} not answer: ${unreachable.slice(0, 5).join(', ')}${unreachable.length > 5 ? ', …' : ''}.`
  return unreachable.length + stage.length === 0
    ? 'No server answers, so none can switch.'
    : `${counted(Math.max(unreachable.length, stage.length))} not answer, so none can switch.`
}

const counted = (servers: number) => (servers === 1 ? '1 server does' : `${servers} servers do`)

/** What the last ones took, without a figure that only one of them had. */
function usualWords(median: number, range: Preview['usualRange']): string {
  return range === null || range.most < median * 1.5
    ? `About ${duration(median)}, as the last ones took.`
    : `Between ${duration(range.least)} and ${duration(range.most)}, as the last ones took.`
}

/** What will be done, in sentences, and which servers switch together. */
export function PlanWords({ preview }: { preview: Preview }) {
  const { plan, balancer, usualMs, usualRange } = preview
  const count = plan.batches.flat().length
  const lines = [
    count === 0
      ? idleWords(plan)
      : `${count} ${count === 1 ? 'server' : 'servers'} in ${plan.batches.length} ${plan.batches.length === 1 ? 'batch' : `batches of ${plan.batches[0]!.length}`}; each: ${plan.perServer.join(', ')}${balancer === 'none' ? '' : ` through ${balancerNames[balancer] ?? balancer}`}.`,
    usualMs === null || count === 0 ? '' : usualWords(usualMs, usualRange),
    plan.groups && plan.groups.next !== plan.groups.live
      ? `Out of traffic at first; then all traffic goes to ${plan.groups.next} at once, and the other group keeps the release before.`
      : '',
    plan.unchanged.length > 0 ? `${plan.unchanged.length} run it already.` : '',
    plan.releaseCommand ? `Once, on ${plan.releaseCommand.server}: ${plan.releaseCommand.command}` : '',
    plan.canary
      ? `The first ${plan.batches[0]!.length === 1 ? 'server is' : `${plan.batches[0]!.length} are`} judged for ${duration(plan.canary.duration)}${plan.canary.traffic == null ? '' : `, with ${Math.round(plan.canary.traffic * 100)} % of the traffic`}, before the others follow.`
      : '',
    plan.bake + plan.bakeBatch > 0
      ? `Bake time: ${[plan.bakeBatch > 0 ? `${duration(plan.bakeBatch)} after each batch` : '', plan.bake > 0 ? `${duration(plan.bake)} at the end` : ''].filter(Boolean).join(', ')}.`
      : '',
  ].filter(Boolean)
  return (
    <>
      {lines.map((line) => (
        <p key={line}>{line}</p>
      ))}
      {count > 0 && count <= 64 ? (
        <ol className="plan-batches" aria-label="Batches">
          {plan.batches.map((batch, index) => (
            <li key={index}>
              <span className="muted">{index + 1}</span> {batch.join(', ')}
            </li>
          ))}
        </ol>
      ) : null}
    </>
  )
}
