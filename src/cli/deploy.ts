import { Command } from 'commander'
import { DployError } from '../protocol/errors.ts'
import { deployAndWatch } from './deployment.ts'
import { makeOutput } from './output.ts'
import { openSession, requester } from './session.ts'
import { uploadDirectory } from './upload.ts'

interface Options {
  revision?: string
  directory?: string
  promote?: string
  wait: boolean
  wayBack: boolean
  plan: boolean
  json: boolean
  plain: boolean
}

export function deployCommand(): Command {
  return new Command('deploy')
    .description('deploy a revision to an environment')
    .argument('[environment]', 'which one; not needed when dploy.yml has one only')
    .option('-r, --revision <ref>', "branch, tag or commit; by default the environment's branch")
    .option('--directory <dir>', 'deploy this directory (what CI built) instead of a revision')
    .option('--promote <environment>', 'deploy what another environment of the application runs: the same artifact')
    .option('--wait', 'wait while another deployment holds the lock', false)
    .option('--no-way-back', 'also where a server could not run its release again')
    .option('--plan', 'show what would be done, change nothing', false)
    .option('--json', 'one JSON object a line', false)
    .option('--plain', 'plain lines, also on a terminal', false)
    .addHelpText(
      'after',
      '\nExamples:\n  $ dploy deploy production\n  $ dploy deploy staging --revision feature/cart\n  $ dploy deploy production --directory ./dist\n  $ dploy deploy production --promote staging\n  $ dploy deploy production --plan\n\nExit code 0 only when the environment runs what was asked for.',
    )
    .action(async (environment: string | undefined, options: Options, command: Command) => {
      const output = makeOutput(options)
      // Rather than the plan of something else: that of the branch.
      if (options.plan && options.directory !== undefined)
        throw new DployError('request.invalid', 'A plan is made of a revision, not of a directory', {
          fix: 'Leave out --plan or --directory',
        })
      await using session = await openSession(command, environment, { ahead: true })
      for (const warning of session.warnings) if (output.mode !== 'json') output.line(`warning: ${warning}`)
      if (options.plan) {
        const { printPlan } = await import('./plan.ts')
        return printPlan(session, options, output)
      }
      const artifact =
        options.directory === undefined
          ? undefined
          : await uploadDirectory(session.client, options.directory, session.project.config.build)
      const start = () =>
        session.client.call('deploy', {
          params: session.params,
          body: {
            ...(options.revision === undefined ? {} : { revision: options.revision }),
            ...(artifact === undefined ? {} : { artifact }),
            ...(options.promote === undefined ? {} : { promote: { environment: options.promote } }),
            wait: options.wait,
            ...(!options.wayBack && { noWayBack: true }),
            requestedBy: requester(),
          },
        })
      await deployAndWatch(session, start, output)
    })
}
