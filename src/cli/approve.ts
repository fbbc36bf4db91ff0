import { Command } from 'commander'
import { DployError } from '../protocol/errors.ts'
import { makeOutput } from './output.ts'
import { openControlPlane } from './server/connection.ts'

/** `dploy approve`: let a deployment of a protected environment begin. */
export function approveCommand(): Command {
  return new Command('approve')
    .description('approve a deployment that waits for another person, or refuse it')
    .argument('<number>', 'of the deployment')
    .option('--refuse', 'refuse it', false)
    .option('--note <text>', 'why', '')
    .option('--json', 'one JSON object a line', false)
    .addHelpText('after', '\nExamples:\n  $ dploy approve 128\n  $ dploy approve 128 --refuse --note "not on a Friday"')
    .action(async (which: string, options: { refuse: boolean; note: string; json: boolean }, command: Command) => {
      const output = makeOutput(options)
      const number = Number(which)
      if (!Number.isInteger(number) || number < 1)
        throw new DployError('request.invalid', `"${which}" is no number of a deployment`, {
          fix: 'Run: dploy deployments',
        })
      await using connection = await openControlPlane(command)
      const deployment = await connection.client.call('decide', {
        params: { number },
        body: { decision: options.refuse ? 'refuse' : 'approve', note: options.note },
      })
      if (output.mode === 'json') return output.json({ type: 'deployment', ...deployment })
      const { revision } = deployment
      output.line(
        `${options.refuse ? 'Refused' : 'Approved'}: deployment ${number} of ${deployment.application} to ${deployment.environment} by ${deployment.requestedBy}${revision?.commit ? `, ${revision.commit.slice(0, 7)} ${revision.subject}` : ''}`,
      )
    })
}
