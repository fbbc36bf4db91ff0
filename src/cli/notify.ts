import { Command } from 'commander'
import type { NotifyTargetView } from '../protocol/api/notifications.ts'
import { DployError } from '../protocol/errors.ts'
import { table } from '../protocol/terminal.ts'
import { ago } from './ago.ts'
import { makeOutput } from './output.ts'
import { openSession } from './session.ts'

/** `dploy notify`: who is told of deployments. */
export function notifyCommand(): Command {
  return new Command('notify')
    .description('who is told of deployments: dploy.yml names them under "notify"')
    .addCommand(listCommand())
    .addCommand(testCommand())
    .addCommand(badgeCommand())
}

function listCommand(): Command {
  return new Command('list')
    .description('who is told, and whether it arrives')
    .argument('[environment]')
    .option('--json', 'one JSON object a line', false)
    .action(async (environment: string | undefined, options: { json: boolean }, command: Command) => {
      const output = makeOutput(options)
      await using session = await openSession(command, environment)
      const { targets } = await session.client.call('notifications', { params: session.params })
      if (output.mode === 'json') return targets.forEach((target) => output.json({ type: 'target', ...target }))
      if (targets.length === 0)
        return output.line('Nobody. Name somebody in dploy.yml under "notify": docs/notifications.md')
      for (const line of table(
        [
          ['', 'who', 'of what', ''],
          ...targets.map((target, index) => [String(index + 1), target.name, target.on.join(', '), stateOf(target)]),
        ],
        output.width(),
      ))
        output.line(line)
    })
}

function testCommand(): Command {
  return new Command('test')
    .description('send a test now; takes up again what was disabled')
    .argument('<environment>')
    .argument('[number]', 'as dploy notify list shows it; by default all')
    .option('--json', 'one JSON object a line', false)
    .addHelpText('after', '\nExamples:\n  $ dploy notify test production\n  $ dploy notify test production 2')
    .action(async (environment: string, number: string | undefined, options: { json: boolean }, command: Command) => {
      const output = makeOutput(options)
      await using session = await openSession(command, environment)
      const { targets } = await session.client.call('notifications', { params: session.params })
      const chosen =
        number === undefined
          ? targets.filter(({ kind }) => kind !== 'commit_status')
          : targets.slice(Number(number) - 1, Number(number))
      if (chosen.length === 0)
        throw new DployError(
          'notification.unknown',
          number === undefined
            ? 'dploy.yml names nobody under "notify" for this environment'
            : `There is no number ${number}`,
        )
      let problem: DployError | null = null
      for (const { key, name } of chosen) {
        try {
          await session.client.call('testNotification', { params: { ...session.params, key } })
          if (output.mode === 'json') output.json({ type: 'test', name, arrived: true })
          else output.line(`${name}: sent`)
        } catch (error) {
          if (!(error instanceof DployError)) throw error
          problem = error
          if (output.mode === 'json') output.json({ type: 'test', name, arrived: false, failure: error.toJSON() })
          else output.line(`${name}: ${error.message}`)
        }
      }
      if (problem) throw problem
    })
}

function badgeCommand(): Command {
  return new Command('badge')
    .description('address of the status badge, and what to put into a README')
    .argument('[environment]')
    .option('--json', 'one JSON object a line', false)
    .action(async (environment: string | undefined, options: { json: boolean }, command: Command) => {
      const output = makeOutput(options)
      await using session = await openSession(command, environment)
      const { shown, url } = await session.client.call('badgeAddress', { params: session.params })
      if (output.mode === 'json') return output.result({ shown, url })
      if (url === null)
        return output.line(
          'Nobody may see it. In dploy.yml, at the environment, say "badge: public", or "badge: token" for those who have its address.',
        )
      output.line(url)
      output.line(`![${session.params.environment}](${url})`)
    })
}

function stateOf(target: NotifyTargetView): string {
  const waiting = target.waiting === 0 ? '' : `; ${target.waiting} wait`
  switch (target.state) {
    case 'new':
      return `nothing sent yet${waiting}`
    case 'working':
      return `arrived ${ago(target.deliveredAt!, Date.now())}${waiting}`
    case 'failing':
      return `fails since ${ago(target.failingSince!, Date.now()).replace(/ ago$/, '')}: ${target.reason ?? ''}${waiting}`
    case 'disabled':
      return `disabled: ${target.reason ?? ''}`
    default:
      return target.state satisfies never
  }
}
