import { Command, CommanderError, Option } from 'commander'
import { config } from 'zod'
import { DployError, reportOf, type ErrorReport } from '../protocol/errors.ts'
import { endUnread } from './gone-reader.ts'
import { complain, errorText, resultOf } from './output.ts'
import { version } from '../protocol/product-version.ts'

/** Every command, in the order of the help, each in a file of its own that is loaded when it is wanted. */
const commands = {
  init: async () => (await import('./init/command.ts')).initCommand(),
  demo: async () => (await import('./demo/command.ts')).demoCommand(),
  doctor: async () => (await import('./doctor.ts')).doctorCommand(),
  plan: async () => (await import('./plan.ts')).planCommand(),
  deploy: async () => (await import('./deploy.ts')).deployCommand(),
  approve: async () => (await import('./approve.ts')).approveCommand(),
  rollback: async () => (await import('./rollback.ts')).rollbackCommand(),
  pause: async () => (await import('./going.ts')).pauseCommand(),
  resume: async () => (await import('./going.ts')).resumeCommand(),
  promote: async () => (await import('./going.ts')).promoteCommand(),
  abort: async () => (await import('./going.ts')).abortCommand(),
  status: async () => (await import('./status.ts')).statusCommand(),
  releases: async () => (await import('./releases.ts')).releasesCommand(),
  deployments: async () => (await import('./deployments.ts')).deploymentsCommand(),
  explain: async () => (await import('./explain.ts')).explainCommand(),
  logs: async () => (await import('./logs.ts')).logsCommand(),
  exec: async () => (await import('./exec/command.ts')).execCommand(),
  shell: async () => (await import('./shell/command.ts')).shellCommand(),
  copy: async () => (await import('./copy/command.ts')).copyCommand(),
  settings: async () => (await import('./settings.ts')).settingsCommand(),
  secret: async () => (await import('./secret/command.ts')).secretCommand(),
  converge: async () => (await import('./converge.ts')).convergeCommand(),
  unlock: async () => (await import('./unlock.ts')).unlockCommand(),
  serve: async () => (await import('./serve.ts')).serveCommand(),
  backup: async () => (await import('./backup.ts')).backupCommand(),
  restore: async () => (await import('./backup.ts')).restoreCommand(),
  server: async () => (await import('./server/command.ts')).serverCommand(),
  token: async () => (await import('./token/command.ts')).tokenCommand(),
  person: async () => (await import('./person/command.ts')).personCommand(),
  webhook: async () => (await import('./webhook/command.ts')).webhookCommand(),
  notify: async () => (await import('./notify.ts')).notifyCommand(),
  audit: async () => (await import('./audit.ts')).auditCommand(),
  agent: async () => (await import('./agent/run.ts')).agentCommand(),
  completion: async () => (await import('./completion.ts')).completionCommand(),
}
type CommandName = keyof typeof commands

/** The command that these arguments name, if what stands before it are options that take a value. Null: who knows, load all. */
function wanted(args: readonly string[]): CommandName | null {
  let at = 0
  while (/^--(server|ssh-config|config)$/.test(args[at] ?? '')) at += 2
  const name = args[at] ?? ''
  // The one for completions asks what the others are.
  return Object.hasOwn(commands, name) && name !== 'completion' ? (name as CommandName) : null
}

/** The command line, or the part of it that knows `only` one command. */
async function program(only: CommandName | null): Promise<Command> {
  // To compile a check with `new Function` pays for who serves; a command is over before. Before any schema is loaded.
  if (only !== 'serve') config({ jitless: true })
  const root = new Command('dploy')
    .description('Deploys code to many servers in seconds, without downtime, and proves it.')
    .version(version())
    .addOption(
      new Option(
        '--server <url>',
        'control plane to talk to, also unix:SOCKET; by default the one of this repository',
      ).env('DPLOY_URL'),
    )
    .addOption(
      new Option('--ssh-config <file>', "configuration for ssh instead of the person's own").env('DPLOY_SSH_CONFIG'),
    )
    .option('--config <file>', 'dploy.yml to use; by default the one here or above')
    .configureHelp({ sortSubcommands: false, showGlobalOptions: true })
    .showHelpAfterError('(dploy --help shows what there is)')
    .addHelpText(
      'after',
      '\nExamples:\n  $ dploy demo                         see it work on this machine\n  $ dploy init                         write a dploy.yml for this repository\n  $ dploy deploy production            deploy the branch of production\n  $ dploy rollback production          back to the release before, in a second',
    )
    // What is wrong with the arguments is reported as everything else is.
    .exitOverride()
  for (const name of only ? [only] : (Object.keys(commands) as CommandName[]))
    root.addCommand(inherit(await commands[name](), root))
  return root
}

/** Gives a command, and those below it, what the one above was told of help and errors. */
function inherit(command: Command, from: Command): Command {
  command.copyInheritedSettings(from)
  for (const one of command.commands) inherit(one as Command, command)
  return command
}

async function main(): Promise<void> {
  endUnread()
  // What it waits for will never come.
  const unsettled = () => void (process.exitCode ??= 13)
  process.once('exit', unsettled)
  try {
    await (await program(wanted(process.argv.slice(2)))).parseAsync()
  } catch (error) {
    // Help and the version were asked for.
    if (error instanceof CommanderError && error.exitCode === 0) return
    const report = error instanceof CommanderError ? wrongArguments(error) : reportOf(error)
    if (process.argv.includes('--json'))
      process.stdout.write(`${JSON.stringify(resultOf({ state: 'failed', failure: report }))}\n`)
    process.exitCode = 1
    // It has said so itself.
    if (error instanceof CommanderError) return
    complain(`dploy: ${errorText(report)}`)
    if (!(error instanceof DployError) && process.env.DPLOY_DEBUG) console.error(error)
  } finally {
    process.off('exit', unsettled)
  }
}

function wrongArguments(error: CommanderError): ErrorReport {
  return new DployError('request.invalid', error.message.replace(/^error: /, ''), { fix: 'Run: dploy --help' }).toJSON()
}

/** The command that this process was started for; null where it was not started for one. */
export const command: Promise<void> | null = import.meta.main ? main() : null
