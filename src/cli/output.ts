import type { DployError, ErrorReport } from '../protocol/errors.ts'

export interface Output {
  mode: 'live' | 'plain' | 'json'
  color: boolean
  stream: NodeJS.WriteStream
  width(): number
  height(): number
  line(text: string): void
  json(value: unknown): void
}

/** Where a command prints: live on a terminal, plain lines in a pipe, one JSON object a line with --json. Follows NO_COLOR. */
export function makeOutput(options: { json: boolean; plain?: boolean }): Output {
  const stream = process.stdout
  const terminal = stream.isTTY && process.env.TERM !== 'dumb'
  const color = terminal && (process.env.NO_COLOR ?? '') === ''
  return {
    mode: options.json ? 'json' : terminal && options.plain !== true ? 'live' : 'plain',
    color: color || (process.env.FORCE_COLOR ?? '0') !== '0',
    stream,
    width: () => (stream.isTTY ? stream.columns : 100),
    height: () => (stream.isTTY ? stream.rows : 1000),
    line: (text) => void stream.write(`${text}\n`),
    json: (value) => void stream.write(`${JSON.stringify(value)}\n`),
  }
}

/** An error for people: what happened, where, the next command. */
export function errorText(error: ErrorReport | DployError): string {
  // What reads files says the place itself, with the line.
  const where = error.where === undefined || error.message.startsWith(error.where) ? '' : `${error.where}: `
  return `${where}${error.message}\n  next: ${error.fix}\n  (${error.code})`
}
