import { Command } from 'commander'
import { DployError } from '../protocol/errors.ts'
import { deployAndWatch } from './deployment.ts'
import { makeOutput } from './output.ts'
import { openSession, requester } from './session.ts'

export function rollbackCommand(): Command {
  return new Command('rollback')
    .description('activate an earlier release; moves no bytes when it is kept')
    .argument('[environment]', 'which one; not needed when dploy.yml has one only')
    .option('--release <number>', 'which release; by default the one before')
    .option('--wait', 'wait while another deployment holds the lock', false)
    .option('--no-way-back', 'also where a server could not run its release again')
    .option('--json', 'one JSON object a line', false)
    .option('--plain', 'plain lines, also on a terminal', false)
    .addHelpText('after', '\nExamples:\n  $ dploy rollback production\n  $ dploy rollback production --release 41')
    .action(
      async (
        environment: string | undefined,
        options: { release?: string; wait: boolean; wayBack: boolean; json: boolean; plain: boolean },
        command: Command,
      ) => {
        const output = makeOutput(options)
        const release = options.release === undefined ? undefined : Number(options.release)
        if (release !== undefined && !(Number.isInteger(release) && release > 0)) {
          throw new DployError('request.invalid', `"${options.release}" is not a release number`, {
            fix: 'Run: dploy releases',
          })
        }
        await using session = await openSession(command, environment, { ahead: true })
        await deployAndWatch(
          session,
          () =>
            session.client.call('rollback', {
              params: session.params,
              body: {
                ...(release === undefined ? {} : { release }),
                wait: options.wait,
                ...(!options.wayBack && { noWayBack: true }),
                requestedBy: requester(),
              },
            }),
          output,
        )
      },
    )
}
