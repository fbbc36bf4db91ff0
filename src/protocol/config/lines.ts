import { branchFor, schemaAt, valueAt, type JsonSchema, type Path } from './schema.ts'
import { formatPath } from './problem.ts'
import { readYaml } from './yaml.ts'
import type { Config } from './config.ts'

/** A line of a dploy.yml, and what the keys that stand in it mean. */
export interface ConfigLine {
  text: string
  keys: { path: string; meaning: string }[]
}

/** A thing that dploy.yml can say, and what is in force of it. */
export interface ConfigSetting {
  /** `strategy.batch`; without the environment's name where it is the environment's. */
  key: string
  /** As a person would write it. */
  value: string
  meaning: string
  /** Whether the file says it; null where the file is not known. */
  written: boolean | null
}

/** So many keys are explained at most: finding each takes time, and nobody reads more. */
const mostKeys = 1_000
/** Of a list so many entries: what more of them mean is the same. */
const mostEntries = 20

/** The lines of a dploy.yml, each with what its keys mean by the schema. What cannot be read is lines without meaning. Never throws. */
export function configLines(text: string): ConfigLine[] {
  const yaml = readYaml(text)
  const lines: ConfigLine[] = yaml.lines.map((line) => ({ text: line, keys: [] }))
  if (yaml.problems.length > 0) return lines
  for (const { path, meaning } of explained(yaml.value)) {
    const line = lines[yaml.locate(path, 'key').line - 1]
    // What an alias brings stands where its anchor does, once.
    if (line && !line.keys.some((one) => one.meaning === meaning)) line.keys.push({ path: formatPath(path), meaning })
  }
  return lines
}

function explained(root: unknown): { path: Path; meaning: string }[] {
  const found: { path: Path; meaning: string }[] = []
  const visit = (value: unknown, path: Path) => {
    if (typeof value !== 'object' || value === null) return
    const inside: [string | number, unknown][] = Array.isArray(value)
      ? [...value.slice(0, mostEntries).entries()]
      : Object.entries(value)
    for (const [key, inner] of inside) {
      if (found.length >= mostKeys) return
      const own = [...path, key]
      const meaning = typeof key === 'string' ? schemaAt(own, root)?.description : undefined
      if (meaning !== undefined) found.push({ path: own, meaning })
      visit(inner, own)
    }
  }
  visit(root, [])
  return found
}

/** Told elsewhere, or as long as there are servers. */
const left: ReadonlySet<string> = new Set(['application', 'environments', 'variables', 'secrets', 'notify', 'servers'])

/** What is in force in an environment: what dploy.yml says and what it leaves to the defaults, the environment's own first. `text`: the file, where it is known. */
export function settingsInForce(config: Config, environment: string, text: string | null): ConfigSetting[] {
  const yaml = text === null ? null : readYaml(text)
  const file = yaml === null || yaml.problems.length > 0 ? null : yaml.value
  const own: Path = ['environments', environment]
  return [...collect(config, own, file), ...collect(config, [], file)]
}

function collect(config: Config, base: Path, file: unknown): ConfigSetting[] {
  const settings: ConfigSetting[] = []
  const visit = (value: unknown, path: Path) => {
    if (value === undefined || value === null) return
    const schema = schemaAt(path, config)
    if (typeof value === 'object' && !Array.isArray(value) && isMapping(schema, value)) {
      for (const [key, inner] of Object.entries(value))
        if (path.length > base.length || !left.has(key)) visit(inner, [...path, key])
      return
    }
    settings.push({
      key: formatPath(path.slice(base.length)),
      value: asWritten(value, schema),
      meaning: schema?.description ?? '',
      written: file === null ? null : isWritten(path, value, file),
    })
  }
  visit(valueAt(base, config), base)
  return settings
}

/** Ports are written as text, and read into a mapping. */
function isMapping(schema: JsonSchema | null, value: object): boolean {
  const branch = schema === null ? null : branchFor(schema, value)
  return branch !== null && (branch.properties !== undefined || branch.additionalProperties !== undefined)
}

/** Whether the file says it, be it by a short form: `health: /healthz` says `health.path`. */
function isWritten(path: Path, value: unknown, file: unknown): boolean {
  for (let length = path.length; length > 0; length--) {
    const said = valueAt(path.slice(0, length), file)
    if (said !== undefined)
      return length === path.length || (typeof said !== 'object' && String(said) === String(value))
  }
  return false
}

function asWritten(value: unknown, schema: JsonSchema | null): string {
  if (typeof value === 'number' && schema?.title?.startsWith('a duration') === true) return durationText(value)
  if (Array.isArray(value))
    return value.every((one) => typeof one !== 'object') ? value.join(', ') : JSON.stringify(value)
  if (typeof value === 'object' && value !== null) return Object.values(value).join('-')
  return String(value)
}

/** A duration as dploy.yml writes it. */
function durationText(ms: number): string {
  if (ms % 1_000 !== 0) return `${ms}ms`
  if (ms === 0 || ms % 60_000 !== 0) return `${ms / 1_000}s`
  return ms % 3_600_000 === 0 ? `${ms / 3_600_000}h` : `${ms / 60_000}m`
}
