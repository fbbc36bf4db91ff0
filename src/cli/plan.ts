import { Command } from 'commander'
import { formatBytes } from '../protocol/bytes.ts'
import type { Plan } from '../protocol/deployment.ts'
import { formatDuration } from '../protocol/duration.ts'
import { makeOutput, type Output } from './output.ts'
import { openSession, type Session } from './session.ts'

export function planCommand(): Command {
  return new Command('plan')
    .description('show what a deployment would do; changes nothing')
    .argument('[environment]', 'which one; not needed when dploy.yml has one only')
    .option('-r, --revision <ref>', "branch, tag or commit; by default the environment's branch")
    .option('--json', 'one JSON object a line', false)
    .addHelpText('after', '\nExamples:\n  $ dploy plan production\n  $ dploy plan production --revision v1.4 --json')
    .action(
      async (environment: string | undefined, options: { revision?: string; json: boolean }, command: Command) => {
        const output = makeOutput(options)
        await using session = await openSession(command, environment)
        await printPlan(session, options, output)
      },
    )
}

/** Asks for the plan and prints it; exit code 1 when something stands in its way. */
export async function printPlan(
  session: Session,
  { revision, promote }: { revision?: string; promote?: string },
  output: Output,
): Promise<void> {
  const body = {
    ...(revision === undefined ? {} : { revision }),
    ...(promote === undefined ? {} : { promote: { environment: promote } }),
  }
  const answer = await session.client.call('plan', { params: session.params, body })
  if (answer.problems.length > 0) process.exitCode = 1
  if (output.mode === 'json') return output.json({ type: 'plan', ...answer })
  const { plan } = answer
  output.line(`${plan.application} → ${plan.environment}`)
  output.line(
    `revision  ${(answer.revision.commit ?? '').slice(0, 7)} ${answer.revision.subject} · ${answer.revision.author}`,
  )
  if (answer.commitsAhead.length > 0) {
    output.line(
      `changes   ${answer.commitsAhead.length} ${answer.commitsAhead.length === 1 ? 'commit' : 'commits'} since release ${plan.from}:`,
    )
    for (const commit of answer.commitsAhead.slice(0, 10))
      output.line(`            ${commit.commit!.slice(0, 7)} ${commit.subject} · ${commit.author}`)
  }
  const { transfer, commitsLost } = answer
  if (commitsLost.length > 0)
    output.line(
      `lost      ${commitsLost.length} ${commitsLost.length === 1 ? 'commit that runs' : 'commits that run'} now, the latest: ${commitsLost[0]!.subject}`,
    )
  output.line(
    `size      ${transfer === null ? 'not built yet' : `${transfer.exact ? '' : 'at most '}${formatBytes(transfer.bytes)} a server, built before`}${answer.usualMs === null ? '' : `; usually takes ${formatDuration(answer.usualMs)}`}`,
  )
  for (const line of planLines(plan)) output.line(line)
  for (const problem of answer.problems)
    output.line(
      `problem   ${problem.where === undefined ? '' : `${problem.where}: `}${problem.message}\n          next: ${problem.fix}`,
    )
}

/** The steps of a plan, in words. */
export function planLines(plan: Plan): string[] {
  const count = plan.batches.flat().length
  const lines = [`stage     ${count} ${count === 1 ? 'server' : 'servers'} at once, traffic untouched`]
  const { groups } = plan
  if (plan.warm === true) lines.push(`boot      beside the release that serves, until it is healthy`)
  if (plan.releaseCommand) lines.push(`once      on ${plan.releaseCommand.server}: ${plan.releaseCommand.command}`)
  plan.batches.forEach((batch, index) => {
    const names = batch.length > 6 ? `${batch.slice(0, 5).join(', ')} and ${batch.length - 5} more` : batch.join(', ')
    const gate = plan.gates.find(({ before }) => before === index)
    if (gate)
      lines.push(
        `wait      ${[...(gate.bake > 0 ? [`keep serving for ${formatDuration(gate.bake)}`] : []), ...(gate.person ? ['for a person: dploy promote'] : [])].join(', then ')}`,
      )
    const bake =
      plan.bakeBatch > 0 && index < plan.batches.length - 1
        ? `, then keep serving for ${formatDuration(plan.bakeBatch)}`
        : ''
    lines.push(`batch ${String(index + 1).padEnd(3)} ${names}: ${plan.perServer.join(', ')}${bake}`)
    if (plan.canary && index === 0)
      lines.push(
        `judge     ${formatDuration(plan.canary.duration)}${plan.canary.traffic == null ? '' : `, with ${Math.round(plan.canary.traffic * 100)} % of the traffic`}, by what they answer and the others${(plan.canary.queries ?? []).length > 0 ? `, and by Prometheus: ${plan.canary.queries!.join(', ')}` : ''}`,
      )
  })
  if (groups) {
    const [gate] = plan.gates
    if (gate)
      lines.push(
        `wait      ${[...(gate.bake > 0 ? [`stay healthy for ${formatDuration(gate.bake)}`] : []), ...(gate.person ? ['for a person: dploy promote'] : [])].join(', then ')}`,
      )
    if (groups.next === groups.live) lines.push(`serves    ${groups.next} runs it already`)
    else
      lines.push(
        `switch    the traffic to ${groups.next}: ${groups.enter.join(', ')} come in, then ${groups.leave.join(', ')} go out and keep ${plan.from === null ? 'what they have' : `release ${plan.from}`}`,
      )
  }
  if (plan.bake > 0) lines.push(`bake      ${formatDuration(plan.bake)}`)
  if (plan.unchanged.length > 0) lines.push(`unchanged ${plan.unchanged.join(', ')}`)
  if (plan.unreachable.length > 0) lines.push(`absent    ${plan.unreachable.join(', ')}`)
  for (const warning of plan.warnings) lines.push(`warning   ${warning}`)
  return lines
}
