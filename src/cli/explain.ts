import { Command } from 'commander'
import { causeLines } from '../protocol/causes-text.ts'
import { DployError } from '../protocol/errors.ts'
import { receiptLines } from '../protocol/receipt-text.ts'
import { verdictOf } from '../protocol/verdict.ts'
import { makeOutput } from './output.ts'
import { openSession } from './session.ts'

/** So many deployments are looked through for an id. */
const searched = 200

export function explainCommand(): Command {
  return new Command('explain')
    .description('why users noticed a deployment, or why it took long, and what to change')
    .argument('<number-or-id>', 'as dploy deployments lists it')
    .option('--json', 'the receipt with its causes as one JSON object', false)
    .addHelpText('after', '\nExamples:\n  $ dploy explain 128\n  $ dploy explain 128 --json')
    .action(async (which: string, options: { json: boolean }, command: Command) => {
      const output = makeOutput(options)
      await using session = await openSession(command, undefined, { any: true })
      const number = /^\d{1,15}$/.test(which) ? Number(which) : await numberOf(session, which)
      const deployment = await session.client.call('deployment', { params: { number } })
      const { receipt } = deployment
      if (output.mode === 'json')
        return output.json({
          type: 'explanation',
          deployment: deployment.id,
          number,
          state: deployment.state,
          failure: deployment.failure,
          causes: receipt?.causes ?? [],
          receipt,
        })
      const size = { width: output.width(), color: output.color }
      if (deployment.failure)
        output.line(
          `${deployment.failure.where === undefined ? '' : `${deployment.failure.where}: `}${deployment.failure.message}\n  next: ${deployment.failure.fix}\n`,
        )
      if (!receipt)
        return output.line(`Deployment ${number} has no receipt: it is ${deployment.state.replaceAll('_', ' ')}`)
      for (const line of receiptLines(receipt, size)) output.line(line)
      const causes = causeLines(receipt, size)
      output.line('')
      if (causes.length === 0)
        output.line(
          receipt.traffic.source === 'none'
            ? 'Not measured. In dploy.yml, name an address that users ask: probe'
            : `${(receipt.verdict ?? verdictOf(receipt)).sentence}. No step took long for a reason that dploy knows.`,
        )
      for (const line of causes) output.line(line)
    })
}

async function numberOf(session: Awaited<ReturnType<typeof openSession>>, id: string): Promise<number> {
  const { deployments } = await session.client.call('deployments', { query: { limit: searched } })
  const found = deployments.find((one) => one.id === id)
  if (found) return found.number
  throw new DployError('request.invalid', `There is no deployment ${id} among the last ${searched}`, {
    fix: 'Name it by its number: dploy deployments',
  })
}
