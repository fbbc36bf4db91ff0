import { Command } from 'commander'
import { makeOutput } from './output.ts'
import { deployAndWatch } from './deployment.ts'
import { openSession, requester } from './session.ts'

/** `dploy converge`: servers that run something else are brought to what the environment is meant to run. */
export function convergeCommand(): Command {
  return new Command('converge')
    .description(
      'bring servers that run something else to what the environment is meant to run; it happens by itself when one connects',
    )
    .argument('[environment]')
    .option('--json', 'one JSON object a line', false)
    .addHelpText('after', '\nExample:\n  $ dploy converge production')
    .action(async (environment: string | undefined, options: { json: boolean }, command: Command) => {
      const output = makeOutput(options)
      await using session = await openSession(command, environment, { ahead: true })
      const { deployment } = await session.client.call('converge', {
        params: session.params,
        body: { requestedBy: requester() },
      })
      // The control plane of this process ends with it, and what it has begun is to be seen through.
      if (deployment !== null && session.embedded)
        return await deployAndWatch(
          session,
          () => session.client.call('deployment', { params: { number: deployment } }),
          output,
        )
      if (output.mode === 'json') return output.result({ deployment })
      output.line(
        deployment === null
          ? 'Every connected server runs what it should.'
          : `Deployment ${deployment} brings them. How it goes: dploy deployments ${session.params.environment}`,
      )
    })
}
