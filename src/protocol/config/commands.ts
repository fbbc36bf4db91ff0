import * as z from 'zod'
import { command, durationOr } from './values.ts'
import { parseDuration } from '../duration.ts'

const commandWithTimeout = (timeout: string) => {
  const details = z.strictObject({
    command: command.meta({
      description: 'The command line, run by sh in the release directory.',
      examples: ['bin/prepare'],
    }),
    timeout: durationOr(timeout, 'After this its whole process group is ended.'),
  })
  return z
    .union([command, details])
    .transform((value) => (typeof value === 'string' ? { command: value, timeout: parseDuration(timeout) } : value))
}

const releaseCommandDetails = z.strictObject({
  command: command.meta({
    description: 'The command line, run by sh in the release directory.',
    examples: ['npx knex migrate:latest'],
  }),
  timeout: durationOr('10m', 'After this its whole process group is ended.'),
  check_old: z
    .boolean()
    .default(true)
    .describe('Look afterwards whether the release that still serves is healthy, before anything is switched.'),
})
/** What runs once for a deployment. */
export const releaseCommand = z
  .union([command, releaseCommandDetails])
  .transform((value) => (typeof value === 'string' ? releaseCommandDetails.parse({ command: value }) : value))

/** What runs at named points on each server. */
export const hooks = z.strictObject({
  after_stage: commandWithTimeout('10m')
    .optional()
    .meta({
      description: 'On each server, in the new release, before anything is switched (dependency installs).',
      examples: ['bundle install'],
    }),
  before_activate: commandWithTimeout('2m')
    .optional()
    .meta({ description: 'On each server, after it was drained.', examples: ['bin/pause-jobs'] }),
  after_activate: commandWithTimeout('2m')
    .optional()
    .meta({ description: 'On each server, once it is healthy, before it is registered.', examples: ['bin/warm-up'] }),
})
