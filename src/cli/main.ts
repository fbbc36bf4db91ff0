import { Command, Option } from 'commander'
import { DployError, reportOf } from '../protocol/errors.ts'
import { agentCommand } from './agent/run.ts'
import { auditCommand } from './audit.ts'
import { completionCommand } from './completion.ts'
import { copyCommand } from './copy/command.ts'
import { demoCommand } from './demo/command.ts'
import { deployCommand } from './deploy.ts'
import { deploymentsCommand } from './deployments.ts'
import { doctorCommand } from './doctor.ts'
import { explainCommand } from './explain.ts'
import { execCommand } from './exec/command.ts'
import { initCommand } from './init/command.ts'
import { logsCommand } from './logs.ts'
import { errorText } from './output.ts'
import { personCommand } from './person/command.ts'
import { planCommand } from './plan.ts'
import { releasesCommand } from './releases.ts'
import { rollbackCommand } from './rollback.ts'
import { secretCommand } from './secret/command.ts'
import { serveCommand } from './serve.ts'
import { serverCommand } from './server/command.ts'
import { tokenCommand } from './token/command.ts'
import { shellCommand } from './shell/command.ts'
import { statusCommand } from './status.ts'
import { unlockCommand } from './unlock.ts'
import { version } from '../protocol/product-version.ts'

/** The command line, every command in a file of its own. */
export function program(): Command {
  const root = new Command('dploy')
    .description('Puts code on many servers in seconds, that nobody notices, with a receipt that proves it.')
    .version(version())
    .addOption(new Option('--server <url>', 'control plane to talk to; by default the one of this repository').env('DPLOY_URL'))
    .addOption(new Option('--ssh-config <file>', "configuration for ssh instead of the person's own").env('DPLOY_SSH_CONFIG'))
    .option('--config <file>', 'dploy.yml to use; by default the one here or above')
    .configureHelp({ sortSubcommands: false, showGlobalOptions: true })
    .showHelpAfterError('(dploy --help shows what there is)')
    .addHelpText('after', '\nExamples:\n  $ dploy demo                         see it work on this machine\n  $ dploy init                         write a dploy.yml for this repository\n  $ dploy deploy production            deploy the branch of production\n  $ dploy rollback production          back to the release before, in a second')
  for (const command of [
    initCommand, demoCommand, doctorCommand, planCommand, deployCommand, rollbackCommand, statusCommand, releasesCommand, deploymentsCommand, explainCommand,
    logsCommand, execCommand, shellCommand, copyCommand, secretCommand, unlockCommand, serveCommand, serverCommand, personCommand, tokenCommand, auditCommand, agentCommand, completionCommand,
  ]) {
    root.addCommand(command())
  }
  return root
}

async function main(): Promise<void> {
  try {
    await program().parseAsync()
  } catch (error) {
    const report = reportOf(error)
    if (process.argv.includes('--json')) process.stdout.write(`${JSON.stringify({ type: 'result', state: 'failed', failure: report })}\n`)
    process.stderr.write(`dploy: ${errorText(report)}\n`)
    if (!(error instanceof DployError) && process.env.DPLOY_DEBUG) console.error(error)
    process.exitCode = 1
  }
}

if (import.meta.main) await main()
