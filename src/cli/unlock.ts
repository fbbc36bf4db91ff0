import { Command } from 'commander'
import { formatDuration } from '../protocol/duration.ts'
import { makeOutput } from './output.ts'
import { openSession } from './session.ts'

export function unlockCommand(): Command {
  return new Command('unlock')
    .description('open the lock of an environment by force; its holder is refused from then on')
    .argument('[environment]')
    .option('--json', 'one JSON object a line', false)
    .addHelpText(
      'after',
      '\nA lock whose holder was killed opens by itself within 15 seconds.\n\nExample:\n  $ dploy unlock production',
    )
    .action(async (environment: string | undefined, options: { json: boolean }, command: Command) => {
      const output = makeOutput(options)
      await using session = await openSession(command, environment)
      const { held } = await session.client.call('unlock', { params: session.params })
      if (output.mode === 'json') return output.result({ held })
      output.line(
        held
          ? `Opened: deployment ${held.number} by ${held.requestedBy} held it for ${formatDuration(Date.now() - held.since)}.`
          : 'It was not locked.',
      )
    })
}
