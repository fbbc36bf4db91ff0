import { Command } from 'commander'
import type { ServerStatus, Status } from '../protocol/api/environments.ts'
import { table } from '../protocol/terminal.ts'
import { ago } from './ago.ts'
import { makeOutput, type Output } from './output.ts'
import { openSession } from './session.ts'

export function statusCommand(): Command {
  return new Command('status')
    .description('what runs where: release, health, drift, lock; asked now')
    .argument('[environment]', 'which one; by default all of dploy.yml')
    .option('--json', 'one JSON object a line', false)
    .addHelpText(
      'after',
      '\nExamples:\n  $ dploy status\n  $ dploy status production --json\n\nExit code 0 only when every server runs, healthy, what its environment wants.',
    )
    .action(async (environment: string | undefined, options: { json: boolean }, command: Command) => {
      const output = makeOutput(options)
      await using session = await openSession(command, environment, { any: true })
      const names = environment === undefined ? Object.keys(session.project.config.environments) : [environment]
      for (const name of names) {
        const status = await session.client.call('status', { params: { ...session.params, environment: name } })
        if (!isWell(status)) process.exitCode = 1
        if (output.mode === 'json') output.json({ type: 'status', ...status })
        else print(status, output)
      }
    })
}

function isWell(status: Status): boolean {
  return (
    status.wanted !== null &&
    status.balancerProblem === null &&
    status.takenOver === null &&
    status.servers.every(
      (server) =>
        server.problem === null &&
        !server.drifted &&
        (server.service?.state === 'running' || server.service?.state === 'none'),
    )
  )
}

function print(status: Status, output: Output): void {
  const { wanted, lock, last } = status
  output.line(`${status.application} ${status.environment}`)
  output.line(
    wanted
      ? `  release ${wanted.release}  ${(wanted.revision.commit ?? '').slice(0, 7)} ${wanted.revision.subject} · ${wanted.revision.author} · ${ago(wanted.since, Date.now())}`
      : '  nothing deployed yet; run: dploy deploy',
  )
  if (last)
    output.line(
      `  last deployment ${last.number}: ${last.state.replaceAll('_', ' ')}${last.finishedAt === null ? '' : ` ${ago(last.finishedAt, Date.now())}`}`,
    )
  if (lock && status.waiting)
    output.line(
      `  waits for a person: ${status.waiting.text}\n    next: dploy promote ${lock.number}   (or back: dploy abort ${lock.number})`,
    )
  if (lock)
    output.line(
      `  locked by deployment ${lock.number} (${lock.requestedBy}), ${lock.state}, since ${ago(lock.since, Date.now())}`,
    )
  if (status.takenOver) output.line(`  ${status.takenOver.text}\n    next: ${status.takenOver.next}`)
  const rows = [['server', 'release', 'service', 'balancer', ''], ...status.servers.map(row)]
  for (const line of table(rows, output.width() - 2)) output.line(`  ${line}`)
  if (status.balancerProblem)
    output.line(`  balancer: ${status.balancerProblem.message}\n    next: ${status.balancerProblem.fix}`)
}

function row(server: ServerStatus): string[] {
  // Of one that does not answer, what it was last seen to run.
  const old =
    server.problem !== null && server.observedAt !== null ? `, seen ${ago(server.observedAt, Date.now())}` : ''
  const service =
    server.service === null
      ? '?'
      : `${server.service.state}${server.service.restarts > 0 ? `, ${server.service.restarts} restarts` : ''}${old}`
  const traffic = server.traffic === null ? '' : `${server.traffic.admission}${server.traffic.up ? '' : ', down'}`
  const note = [
    server.problem?.message,
    server.drifted ? 'drifted' : undefined,
    server.idle ? 'idle: its group does not serve' : undefined,
  ]
    .filter((text) => text !== undefined)
    .join('; ')
  return [server.name, server.release === null ? '–' : String(server.release), service, traffic, note]
}
