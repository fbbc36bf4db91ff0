import { Command } from 'commander'
import { table } from '../protocol/terminal.ts'
import { ago } from './ago.ts'
import { makeOutput } from './output.ts'
import { openSession } from './session.ts'

/** `dploy settings`: the settings of an environment. */
export function settingsCommand(): Command {
  return new Command('settings')
    .description('show the settings of an environment, with defaults')
    .argument('[environment]')
    .option('--file', 'the dploy.yml that was applied last, as it was sent', false)
    .option('--json', 'one JSON object', false)
    .addHelpText('after', '\nExamples:\n  $ dploy settings production\n  $ dploy settings production --file')
    .action(async (environment: string | undefined, options: { file: boolean; json: boolean }, command: Command) => {
      const output = makeOutput(options)
      await using session = await openSession(command, environment)
      const found = await session.client.call('settings', { params: session.params })
      if (output.mode === 'json') return output.json({ type: 'settings', ...found })
      if (options.file) {
        if (found.file === null)
          return output.line('Its text was not kept: an older dploy took it. The next one that is applied is.')
        for (const { text } of found.file.lines) output.line(text)
        return
      }
      output.line(
        `${found.file === null ? 'dploy.yml' : `${found.file.name} of ${found.file.by}`}, applied ${ago(found.appliedAt, Date.now())}\n`,
      )
      const rows = found.settings.map((one) => [one.key, one.value, one.written === false ? 'by default' : ''])
      for (const line of table([['', 'in force', ''], ...rows], output.width())) output.line(line)
      output.line('')
      for (const { name, value, from } of found.variables)
        output.line(`${name}=${value}${from === 'application' ? '' : '   (of the environment)'}`)
      for (const { name, set } of found.secrets)
        output.line(
          `${name}   ${set ? '(secret)' : `(secret, not set: dploy secret set ${session.params.environment} ${name})`}`,
        )
    })
}
