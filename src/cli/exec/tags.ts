import { DployError } from '../../protocol/errors.ts'

/** `role=web` and more of them as an object. Throws `request.invalid`. */
export function readTags(texts: readonly string[]): Record<string, string> {
  return Object.fromEntries(
    texts.map((text) => {
      const at = text.indexOf('=')
      if (at < 1)
        throw new DployError('request.invalid', `"${text}" is not a tag`, {
          fix: 'Write it as KEY=VALUE, for example: --tag role=web',
        })
      return [text.slice(0, at), text.slice(at + 1)]
    }),
  )
}
