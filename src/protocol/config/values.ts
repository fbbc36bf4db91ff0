import * as z from 'zod'
import { parseDuration } from '../duration.ts'

/** Values that stand in several places of dploy.yml, each with the words for its errors and the reference. */

const maxDuration = 7 * 24 * 3_600_000

export const text = (title: string, pattern: RegExp) =>
  z.string().max(20_000).regex(pattern, `must be ${title}`).meta({ title })

/** From `least` milliseconds to seven days: Node's timers overflow after 24 days. */
export const duration = (description: string, least = 1) => {
  const title = 'a duration such as 250ms, 10s, 5m or 1h'
  return z
    .union([z.string().regex(/^\d+(\.\d+)?\s*(ms|s|m|h)$/, `must be ${title}`), z.number().nonnegative()])
    .transform((value, context) => {
      const ms = parseDuration(value)
      if (ms >= least && ms <= maxDuration) return ms
      context.addIssue({
        code: 'custom',
        message: ms < least ? `must be at least ${least} ms, not ${ms} ms` : 'must be at most 168h',
      })
      return z.NEVER
    })
    .meta({ title, description })
}

/** A default stands in the form that a person writes, so that the JSON Schema shows it. */
export const durationOr = (value: string, description: string, least?: number) =>
  duration(description, least).prefault(value)

export const name = text(
  'a name of letters, digits, ".", "_" and "-", at most 63, the first a letter or digit',
  /^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$/,
)
export const command = text('a command line', /^(?=[^\0]*\S)[^\0]+$/)
/** Without leading `./`, doubled and trailing slashes, so that later parts compare paths as text. */
export const relativePath = text(
  'a path inside the directory, without ".."',
  /^(?!\/)(?!(?:[^\0]*\/)?\.\.(?:\/|$))[^\0]+$/,
).overwrite(
  (path) =>
    path
      .split('/')
      .filter((segment) => segment !== '' && segment !== '.')
      .join('/') || '.',
)
export const absolutePath = text('an absolute path without ".."', /^\/(?!(?:[^\0]*\/)?\.\.(?:\/|$))[^\0]*$/).overwrite(
  (path) =>
    '/' +
    path
      .split('/')
      .filter((segment) => segment !== '' && segment !== '.')
      .join('/'),
)
export const urlPath = text('a path that begins with "/"', /^\/[\x21-\x7e]*$/)
export const portNumber = z.number().int().min(1).max(65_535)
export const word = z
  .union([z.string().regex(/^[^\0]*$/), z.number(), z.boolean()])
  .transform(String)
  .meta({ title: 'text, a number, true or false' })
const variableName = text('a name of letters, digits and "_", the first no digit', /^[A-Za-z_][A-Za-z0-9_]*$/)
export const variables = (description: string, examples: Record<string, string | number>[]) =>
  z.record(variableName, word).default({}).meta({ description, examples })
export const secrets = (description: string, example: string[]) =>
  z
    .array(variableName)
    .default([])
    .meta({ description, examples: [example] })
export const share = z
  .union([
    z.number().int().min(1),
    z.string().regex(/^(100|[1-9]\d?)%$/, 'must be a number of servers or a share such as 25%'),
  ])
  .meta({ title: 'a number of servers or a share such as 25%' })

export const keptShare = z
  .union([
    z.number().int().min(0),
    z.string().regex(/^(\d|[1-9]\d)%$/, 'must be a number of servers or a share such as 50%'),
  ])
  .meta({ title: 'a number of servers or a share such as 50%' })
