import { Command } from 'commander'
import { formatDuration } from '../protocol/duration.ts'
import { DployError } from '../protocol/errors.ts'
import { receiptLines } from '../protocol/receipt-text.ts'
import { table } from '../protocol/terminal.ts'
import { ago } from './ago.ts'
import { makeOutput } from './output.ts'
import { openSession } from './session.ts'

export function deploymentsCommand(): Command {
  return new Command('deployments')
    .description('the deployments of an environment, the newest first; with a number, the receipt of one')
    .argument('[environment-or-number]')
    .option('--limit <n>', 'how many', '20')
    .option('--json', 'one JSON object a line', false)
    .addHelpText('after', '\nExamples:\n  $ dploy deployments production\n  $ dploy deployments 128')
    .action(async (which: string | undefined, options: { limit: string; json: boolean }, command: Command) => {
      const output = makeOutput(options)
      const number = which !== undefined && /^\d+$/.test(which) ? Number(which) : undefined
      await using session = await openSession(command, number === undefined ? which : undefined, {
        any: number !== undefined,
      })
      if (number !== undefined) {
        const deployment = await session.client.call('deployment', { params: { number } })
        if (output.mode === 'json') return output.json({ type: 'deployment', ...deployment })
        output.line(
          `Deployment ${number} · ${deployment.application} → ${deployment.environment} · ${deployment.state.replaceAll('_', ' ')} · by ${deployment.requestedBy}`,
        )
        if (deployment.failure)
          output.line(
            `${deployment.failure.where === undefined ? '' : `${deployment.failure.where}: `}${deployment.failure.message}\n  next: ${deployment.failure.fix}`,
          )
        if (deployment.receipt)
          for (const line of receiptLines(deployment.receipt, { width: output.width(), color: output.color }))
            output.line(line)
        return
      }
      const limit = Number(options.limit)
      if (!Number.isInteger(limit) || limit < 1)
        throw new DployError('request.invalid', `"${options.limit}" is not a number of deployments`)
      const { deployments } = await session.client.call('deployments', { query: { ...session.params, limit } })
      if (output.mode === 'json')
        return deployments.forEach((deployment) => output.json({ type: 'deployment', ...deployment }))
      if (deployments.length === 0)
        return output.line(`No deployments yet. Run: dploy deploy ${session.params.environment}`)
      const rows = deployments.map((one) => [
        String(one.number),
        one.kind,
        one.state.replaceAll('_', ' '),
        one.from === null ? `${one.release ?? ''}` : `${one.from} → ${one.release ?? '?'}`,
        one.startedAt !== null && one.finishedAt !== null ? formatDuration(one.finishedAt - one.startedAt) : '',
        one.receipt
          ? `${one.receipt.traffic.failed + one.receipt.traffic.stalled} of ${one.receipt.traffic.seen} noticed`
          : '',
        one.requestedBy,
        ago(one.createdAt, Date.now()),
      ])
      for (const line of table(
        [['', 'kind', 'state', 'release', 'took', 'traffic', 'by', ''], ...rows],
        output.width(),
      ))
        output.line(line)
    })
}
