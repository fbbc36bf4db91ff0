import { harmless } from '../protocol/control-characters.ts'
import type { DployError, ErrorReport } from '../protocol/errors.ts'
import type { Receipt } from '../protocol/receipt.ts'

/** What every last line of --json has, whatever else is in it. */
export interface Result {
  type: 'result'
  state: 'succeeded' | 'failed' | 'rolled_back'
  /** Since the command began; of a deployment, how long it took. */
  seconds: number
  failure: ErrorReport | null
  /** Of a deployment. */
  receipt: Receipt | null
}

export interface Output {
  mode: 'live' | 'plain' | 'json'
  color: boolean
  stream: NodeJS.WriteStream
  width(): number
  height(): number
  line(text: string): void
  json(value: unknown): void
  /** The last line of --json: what came of the command. Succeeded, unless it says otherwise. */
  result(value: Partial<Omit<Result, 'type'>> & Record<string, unknown>): void
}

/** Where a command prints: live on a terminal, plain lines in a pipe, one JSON object a line with --json. Follows NO_COLOR. */
export function makeOutput(options: { json: boolean; plain?: boolean }): Output {
  const stream = process.stdout
  const terminal = stream.isTTY && process.env.TERM !== 'dumb'
  const color = terminal && (process.env.NO_COLOR ?? '') === ''
  const json = (value: unknown) => void stream.write(`${JSON.stringify(value)}\n`)
  return {
    mode: options.json ? 'json' : terminal && options.plain !== true ? 'live' : 'plain',
    color: color || (process.env.FORCE_COLOR ?? '0') !== '0',
    stream,
    width: () => (stream.isTTY ? stream.columns : 100),
    height: () => (stream.isTTY ? stream.rows : 1000),
    line: (text) => void stream.write(`${stream.isTTY ? harmless(text) : text}\n`),
    json,
    result: (value) => json(resultOf(value)),
  }
}

/** A last line of --json. `seconds` are those of this process, unless given. */
export function resultOf(value: Partial<Omit<Result, 'type'>> & Record<string, unknown>): Result {
  return {
    type: 'result',
    state: 'succeeded',
    seconds: Math.round(performance.now()) / 1000,
    failure: null,
    receipt: null,
    ...value,
  }
}

/** Says something beside the output, on a terminal without what servers may have put into it. */
export function complain(text: string): void {
  process.stderr.write(`${process.stderr.isTTY ? harmless(text) : text}\n`)
}

/** An error for people: what happened, where, the next command. */
export function errorText(error: ErrorReport | DployError): string {
  // What reads files says the place itself, with the line.
  const where = error.where === undefined || error.message.startsWith(error.where) ? '' : `${error.where}: `
  return `${where}${error.message}\n  next: ${error.fix}\n  (${error.code})`
}
