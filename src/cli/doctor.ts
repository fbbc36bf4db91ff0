import { styleText } from 'node:util'
import { Command } from 'commander'
import type { FindingReport } from '../protocol/api/doctor.ts'
import { makeOutput, type Output } from './output.ts'
import { openSession } from './session.ts'

export function doctorCommand(): Command {
  return new Command('doctor')
    .description('what would go wrong in a deployment, and how to mend it; changes nothing')
    .argument('[environment]', 'which one; by default all of dploy.yml')
    .option('--json', 'one JSON object a line', false)
    .addHelpText(
      'after',
      '\nLooks at connection, clock, disk, directory, ports, rights, architecture, keep-alive, drift, balancer and secrets.\nEach code is explained in docs/errors.md. Exit code 1 if there is an error; warnings leave it 0.\n\nExamples:\n  $ dploy doctor\n  $ dploy doctor production --json',
    )
    .action(async (environment: string | undefined, options: { json: boolean }, command: Command) => {
      const output = makeOutput(options)
      await using session = await openSession(command, environment, { any: true })
      const names = environment === undefined ? Object.keys(session.project.config.environments) : [environment]
      for (const name of names) {
        const {
          servers,
          asked = servers,
          findings,
        } = await session.client.call('doctor', {
          params: { ...session.params, environment: name },
        })
        if (findings.some((finding) => finding.severity === 'error')) process.exitCode = 1
        if (output.mode === 'json') output.json({ type: 'doctor', environment: name, servers, asked, findings })
        else print(name, servers, asked, findings, output)
      }
    })
}

function print(
  environment: string,
  servers: readonly string[],
  asked: readonly string[],
  findings: readonly FindingReport[],
  output: Output,
): void {
  const paint = (style: Parameters<typeof styleText>[0], text: string) =>
    output.color ? styleText(style, text, { validateStream: false }) : text
  output.line(paint('bold', environment))
  const well = asked.filter((server) => !findings.some((finding) => finding.server === server))
  if (well.length > 0) output.line(`  ${paint('green', '✓')} ${well.join(', ')}`)
  const wide = Math.max(0, ...findings.map(({ server }) => (server ?? environment).length))
  for (const { server, severity, code, message, next } of findings) {
    const mark = severity === 'error' ? paint('red', '✗') : paint('yellow', '!')
    output.line(`  ${mark} ${(server ?? environment).padEnd(wide)}  ${message} ${paint('dim', `(${code})`)}`)
    output.line(`    ${' '.repeat(wide)}  next: ${next}`)
  }
  if (asked.length < servers.length)
    output.line(
      `  ${paint('yellow', '!')} ${asked.length} of ${servers.length} servers could be asked. The others were not checked.`,
    )
  else if (findings.length === 0) output.line('  Nothing is wrong.')
}
