import { findingsOf } from './check.ts'
import { explain, type Explanation } from './explain.ts'
import { formatPath, formatProblem, type ConfigProblem } from './problem.ts'
import { valueAt } from './schema.ts'
import { readYaml } from './yaml.ts'
import { configSchema, type Config } from './config.ts'
import { DployError } from '../errors.ts'

/** What a text says: the configuration unless there are errors, every problem by its place, and the text's lines. */
export interface ConfigReading {
  config: Config | null
  errors: ConfigProblem[]
  warnings: ConfigProblem[]
  lines: string[]
}

const maxShown = 25
/** Finding a place takes time in a large file, and nobody reads more. */
const maxExplained = 100

/**
 * The configuration that a dploy.yml holds. Throws `config.invalid`: the message lists every problem with line, column,
 * the line itself and what would be valid; `where` is `FILE:LINE` of the first. Warnings: `inspectConfig`, `checkConfig`.
 */
export function readConfig(text: string, fileName = 'dploy.yml'): Config {
  const { config, errors, lines } = inspectConfig(text)
  if (config !== null) return config
  const shown = errors.slice(0, maxShown).map((problem) => formatProblem(problem, fileName, lines))
  if (errors.length > maxShown) shown.push(`… and ${errors.length - maxShown} more`)
  throw new DployError('config.invalid', shown.join('\n'), { where: `${fileName}:${errors[0]!.line}` })
}

/** Reads a dploy.yml and tells everything about it, sorted by line. Never throws. */
export function inspectConfig(text: string): ConfigReading {
  const yaml = readYaml(text)
  const reading = (config: Config | null, errors: ConfigProblem[], warnings: ConfigProblem[]): ConfigReading => ({
    config,
    errors: inOrder(errors),
    warnings: inOrder(warnings),
    lines: yaml.lines,
  })

  // A value that an alias or a bracket left half read would only add errors that are not the person's.
  if (yaml.problems.length > 0) return reading(null, yaml.problems, [])
  if (yaml.value === null || yaml.value === undefined) {
    return reading(
      null,
      [
        {
          message: 'the file is empty; it needs at least application and environments (dploy init writes one)',
          path: [],
          line: 1,
          column: 1,
          length: 1,
        },
      ],
      [],
    )
  }
  const parsed = configSchema.safeParse(yaml.value)
  if (!parsed.success) {
    const explained = withoutEchoes(
      parsed.error.issues.slice(0, maxExplained).flatMap((issue) => explain(issue, yaml.value)),
    )
    const errors = explained.map(({ path, at, part, message }) => ({ message, path, ...yaml.locate(at ?? path, part) }))
    return reading(null, withoutRepeats(errors), [])
  }
  const findings = findingsOf(parsed.data).map(({ level, path, message }) => {
    const part = typeof valueAt(path, yaml.value) === 'object' ? 'key' : 'value'
    return { level, problem: { message, path, ...yaml.locate(path, part) } }
  })
  const errors = findings.filter((finding) => finding.level === 'error').map((finding) => finding.problem)
  return reading(
    errors.length === 0 ? parsed.data : null,
    errors,
    findings.filter((finding) => finding.level === 'warning').map((finding) => finding.problem),
  )
}

function inOrder(problems: ConfigProblem[]): ConfigProblem[] {
  return problems.sort((a, b) => a.line - b.line || a.column - b.column)
}

/** "name is missing" says nothing more where "nam: did you mean name" stands. */
function withoutEchoes(explanations: Explanation[]): Explanation[] {
  const meant = new Set(
    explanations.filter((one) => one.meant != null).map((one) => formatPath([...one.path, one.meant!])),
  )
  return explanations.filter(
    (one) => one.at !== undefined || !one.message.startsWith('is missing') || !meant.has(formatPath(one.path)),
  )
}

/** An aliased value that is wrong is wrong wherever it is used, but stands in one place. */
function withoutRepeats(problems: ConfigProblem[]): ConfigProblem[] {
  const seen = new Set<string>()
  return problems.filter((one) => {
    const key = `${one.line}:${one.column}:${one.message}:${formatPath(one.path.slice(-1))}`
    return !seen.has(key) && seen.add(key)
  })
}
