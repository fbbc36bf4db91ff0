import { spawn } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import { hostname } from 'node:os'
import { Command } from 'commander'

/** `dploy agent run`: the agent is a program of its own (one bundled file on servers); this only starts it. */
export function agentCommand(): Command {
  return new Command('agent').description('the program that runs on each server').addCommand(
    new Command('run')
      .description('run the agent in the foreground; joins with --join and --token the first time')
      .option('--join <url>', 'the control plane to join, the first time')
      .option('--token <token>', 'a join token; better in DPLOY_JOIN_TOKEN, where ps does not show it')
      .option('--name <name>', 'name of this server', hostname())
      .option('--state <dir>', 'where the agent keeps its key and journal', '/var/lib/dploy')
      .option('--root <dir>', 'release directories are below this one', '/')
      .addHelpText(
        'after',
        '\nExamples:\n  # DPLOY_JOIN_TOKEN=… dploy agent run --join https://dploy.example.org --name web1\n  # dploy agent run',
      )
      .action(async (options: { join?: string; token?: string; name: string; state: string; root: string }) => {
        const main = fileURLToPath(new URL('../../agent/main.ts', import.meta.url))
        const args = [
          main,
          'run',
          '--name',
          options.name,
          '--state',
          options.state,
          '--root',
          options.root,
          ...(options.join === undefined ? [] : ['--join', options.join]),
        ]
        const env = { ...process.env, ...(options.token === undefined ? {} : { DPLOY_JOIN_TOKEN: options.token }) }
        const child = spawn(process.execPath, args, { stdio: 'inherit', env })
        for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.on(signal, () => child.kill(signal))
        process.exitCode = await new Promise<number>((resolve, reject) => {
          child.once('error', reject)
          child.once('exit', (code, signal) => resolve(signal === null ? (code ?? 1) : 128))
        })
      }),
  )
}
