import type { Path } from './schema.ts'

/** Something wrong (or, as a warning, doubtful) in dploy.yml, and where it stands. */
export interface ConfigProblem {
  message: string
  /** The place in the configuration; empty for what concerns the text as a whole. */
  path: Path
  /** From 1. */
  line: number
  /** From 1, in UTF-16 code units. */
  column: number
  /** How much of the line is meant, in UTF-16 code units. */
  length: number
}

const excerptWidth = 120

/**
 * A problem for people: `dploy.yml:12:5  environments.production.strategy: unknown key "bach"`, below it the line with
 * what is meant underlined. `lines` is the text the positions are of.
 */
export function formatProblem(problem: ConfigProblem, fileName: string, lines: readonly string[]): string {
  const path = formatPath(problem.path)
  const head = `${fileName}:${problem.line}:${problem.column}  ${path === '' ? '' : `${path}: `}${problem.message}`
  const line = lines[problem.line - 1]
  if (line === undefined || line.trim() === '') return visible(head)
  const start = Math.max(0, Math.min(problem.column - 1 - excerptWidth / 2, line.length - excerptWidth))
  const margin = ` ${problem.line} | `
  const mark =
    ' '.repeat(problem.column - 1 - start) +
    '^'.repeat(Math.max(1, Math.min(problem.length, start + excerptWidth - problem.column + 1)))
  return `${visible(head)}\n  ${margin}${visible(line.slice(start, start + excerptWidth).replaceAll('\t', ' '))}\n  ${' '.repeat(margin.length - 2)}| ${mark}`
}

/** `environments.production.servers[0].name`. */
export function formatPath(path: Path): string {
  return path
    .map((key, index) => {
      if (typeof key === 'number') return `[${key}]`
      if (!/^[\w-]+$/.test(key)) return `[${JSON.stringify(key)}]`
      return index === 0 ? key : `.${key}`
    })
    .join('')
}

/** A value of the file as an error may show it: short, and telling text from number. */
export function describeValue(value: unknown): string {
  if (value === null) return 'nothing'
  if (Array.isArray(value)) return value.length === 0 ? 'an empty list' : 'a list'
  if (typeof value === 'object') return 'a mapping'
  if (typeof value === 'string')
    return value === ''
      ? 'empty text'
      : `the text ${JSON.stringify(value.length > 60 ? `${value.slice(0, 57)}...` : value)}`
  return String(value)
}

/** Control characters, and those that turn the writing direction, would let a file rewrite the terminal it is shown on. */
function visible(text: string): string {
  return text.replace(/[\x00-\x1f\x7f-\x9f\u200e\u200f\u202a-\u202e\u2066-\u2069]/g, '\u00b7')
}
