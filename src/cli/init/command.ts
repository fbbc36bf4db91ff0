import { Command } from 'commander'
import { resolve } from 'node:path'
import { makeOutput } from '../output.ts'
import { writeConfig } from './config-draft.ts'
import { initConfig } from './init.ts'
import { recognise } from './recognise.ts'

export function initCommand(): Command {
  return new Command('init')
    .description('write a dploy.yml for what stands here; never overwrites one')
    .argument('[directory]', 'of the application', '.')
    .option('--print', 'print it instead of writing it', false)
    .option('--json', 'one JSON object a line', false)
    .addHelpText('after', '\nExamples:\n  $ dploy init\n  $ dploy init apps/web\n  $ dploy init --print')
    .action((directory: string, options: { print: boolean; json: boolean }) => {
      const output = makeOutput(options)
      if (options.print) {
        const proposal = recognise(resolve(directory))
        const text = writeConfig(proposal)
        if (output.mode === 'json')
          output.json({ type: 'init', file: null, found: proposal.name, notes: proposal.notes, text })
        else process.stdout.write(text)
        return
      }
      const { file, text, proposal } = initConfig(directory)
      if (output.mode === 'json')
        return output.json({ type: 'init', file, found: proposal.name, notes: proposal.notes, text })
      output.line(`Wrote ${file} for ${proposal.name}.`)
      if (proposal.notes.length > 0) output.line('Please look at:')
      for (const note of proposal.notes) output.line(`  - ${note}`)
      output.line('Next: put your servers in it, then run: dploy plan')
    })
}
