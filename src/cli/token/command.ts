import { Command } from 'commander'
import { parseDuration } from '../../protocol/duration.ts'
import { DployError } from '../../protocol/errors.ts'
import { makeOutput } from '../output.ts'
import { readTags } from '../exec/tags.ts'
import { openControlPlane } from '../server/connection.ts'

/** `dploy token`: what lets agents join. */
export function tokenCommand(): Command {
  return new Command('token').description('tokens with which agents join').addCommand(createCommand())
}

function createCommand(): Command {
  return new Command('create')
    .description('a join token; it is shown once')
    .option('--uses <n>', 'how many agents may join with it', '1')
    .option('--for <time>', 'how long it is valid', '1h')
    .option('--environment <name>', 'whoever joins with it belongs to this environment; can be given several times', collect, [])
    .option('--tag <key=value>', 'tags that they get there; can be given several times', collect, [])
    .option('--note <text>', 'what it is for', '')
    .option('--json', 'one JSON object a line', false)
    .addHelpText('after', '\nExamples:\n  $ dploy token create\n  $ dploy token create --uses 20 --for 24h --environment production --tag role=web')
    .action(async (options: { uses: string; for: string; environment: string[]; tag: string[]; note: string; json: boolean }, command: Command) => {
      const output = makeOutput(options)
      const uses = Number(options.uses)
      if (!Number.isInteger(uses) || uses < 1) throw new DployError('request.invalid', `--uses ${options.uses} is no number of agents`, { fix: 'For example: --uses 20' })
      const duration = parseDuration(options.for)
      await using connection = await openControlPlane(command)
      if (options.environment.length > 0 && connection.project === null) throw new DployError('config.missing', 'Which application? There is no dploy.yml here to say', { fix: 'Run it where the dploy.yml of the application is' })
      const environments = options.environment.map((environment) => ({ application: connection.project!.config.application, environment }))
      if (connection.project && environments.length > 0) await connection.client.call('apply', { body: { text: connection.project.text, fileName: connection.project.file, base: connection.project.base } })
      const { token } = await connection.client.call('createJoinToken', { body: { uses, minutes: duration / 60_000, environments, tags: readTags(options.tag), note: options.note } })
      if (output.mode === 'json') return output.json({ type: 'result', token })
      output.line(token)
    })
}

function collect(value: string, before: string[]): string[] {
  return [...before, value]
}
