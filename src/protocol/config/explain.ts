import { distance } from 'fastest-levenshtein'
import type * as z from 'zod'
import { describeValue, formatPath } from './problem.ts'
import { configJsonSchema, inWords, keysAt, orList, schemaAt, valueAt, type JsonSchema, type Path } from './schema.ts'

/** What an issue says to the person who wrote the file, and about which key or value. */
export interface Explanation {
  path: Path
  /** What to point at, when it is not `path` itself. */
  at?: Path
  part: 'key' | 'value'
  message: string
  /** The valid key that an unknown one was probably meant to be. */
  meant?: string | null
}

/** Enough to see what is wrong; a generated file could have thousands. */
const maxUnknownKeys = 50

/** Explains an issue of the schema in plain words. `root` is the value of the whole file. */
export function explain(issue: z.core.$ZodIssue, root: unknown, base: Path = []): Explanation[] {
  const path = [...base, ...issue.path] as Path
  switch (issue.code) {
    case 'unrecognized_keys':
      return issue.keys.slice(0, maxUnknownKeys).map((key) => explainUnknownKey(key, path, root))
    case 'invalid_union': {
      if (issue.discriminator !== undefined) return [mustBe(path, root, kindsAt(path.slice(0, -1), root))]
      const branch = fittingBranch(issue, valueAt(path, root))
      return branch === null ? [mustBe(path, root)] : branch.flatMap((inner) => explain(inner, root, path))
    }
    case 'invalid_key': {
      const names = schemaAt(path.slice(0, -1), root)?.propertyNames
      return [{ path, part: 'key', message: `${JSON.stringify(path.at(-1))} must be ${inWords(names ?? {})}` }]
    }
    case 'custom':
      return [{ path, part: 'value', message: issue.message }]
    default:
      return [mustBe(path, root)]
  }
}

function mustBe(path: Path, root: unknown, schema: JsonSchema = schemaAt(path, root) ?? {}): Explanation {
  const value = valueAt(path, root)
  const wanted = inWords(schema)
  if (value === undefined) {
    const example = schema.examples?.[0] ?? schema.default
    return {
      path,
      part: 'value',
      message: `is missing; it must be ${wanted}${example === undefined || typeof example === 'object' ? '' : `, for example ${example}`}`,
    }
  }
  if (value === null) {
    const required = schemaAt(path.slice(0, -1), root)?.required?.includes(String(path.at(-1))) ?? false
    return {
      path,
      part: 'key',
      message: `has no value; it must be ${wanted}${required ? '' : '. Remove the line if nothing is meant'}`,
    }
  }
  return {
    path,
    part: typeof value === 'object' ? 'key' : 'value',
    message: `must be ${wanted}, not ${describeValue(value)}${hint(value, schema)}`,
  }
}

/** The words by which the branches of a union are told apart. */
function kindsAt(path: Path, root: unknown): JsonSchema {
  const union = schemaAt(path, root)
  return { enum: (union?.oneOf ?? union?.anyOf ?? []).map((branch) => branch.properties?.['kind']?.const) }
}

/** The slips that YAML's own typing leads to. */
function hint(value: unknown, schema: JsonSchema): string {
  const accepts = (type: string) => [schema, ...(schema.anyOf ?? [])].some((one) => one.type === type)
  if (typeof value === 'string' && /^\d+$/.test(value) && (accepts('integer') || accepts('number')))
    return `; write ${value} without quotes`
  if ((typeof value === 'number' || typeof value === 'boolean') && accepts('string'))
    return `; text needs quotes: "${value}"`
  if (typeof value === 'string' && value.length < 40 && accepts('array')) return `; write [${value}]`
  return ''
}

/** The issues of the branch that the person most likely meant; null when the value is of no branch's kind. */
function fittingBranch(issue: z.core.$ZodIssueInvalidUnion, value: unknown): z.core.$ZodIssue[] | null {
  const branches = issue.errors.filter(
    (errors) => !errors.some((error) => error.path.length === 0 && error.code === 'invalid_type'),
  )
  if (typeof value !== 'object' || value === null) return null
  const depth = (errors: readonly z.core.$ZodIssue[]) => Math.max(...errors.map((error) => error.path.length))
  return branches.sort((a, b) => a.length - b.length || depth(b) - depth(a))[0] ?? null
}

function explainUnknownKey(key: string, path: Path, root: unknown): Explanation {
  const valid = keysAt(path, root)
  const unused = valid.filter((one) => valueAt([...path, one], root) === undefined)
  const meant = nearest(key, unused) ?? nearest(key, valid)
  const said = `unknown key ${JSON.stringify(key.length > 60 ? `${key.slice(0, 57)}...` : key)}`
  return {
    path,
    at: [...path, key],
    part: 'key',
    meant,
    message: meant === null ? `${said}${placeOf(key, path, valid)}` : `${said}; did you mean "${meant}"?`,
  }
}

function placeOf(key: string, path: Path, valid: readonly string[]): string {
  const elsewhere = placesOf(normal(key)).filter((place) => formatPath(place) !== formatPath(path))
  if (elsewhere.length === 0) return `; the keys here are ${valid.join(', ')}`
  return ` here; it belongs under ${orList(elsewhere.slice(0, 3).map((place) => (place.length === 0 ? 'the top level' : formatPath(place))))}`
}

/** The word that is nearest to what was written, if it is near at all. */
function nearest(written: string, words: readonly string[]): string | null {
  const wanted = normal(written)
  let best: { word: string; far: number } | null = null
  for (const word of words) {
    const far = distance(wanted, word)
    if (best === null || far < best.far) best = { word, far }
  }
  // Two: letters that changed places count twice.
  const allowed = wanted.length < 4 ? 1 : wanted.length < 9 ? 2 : 3
  if (best !== null && best.far <= allowed) return best.word
  // `timeout_ms` for `timeout`, `var` for `variables`.
  return words.find((word) => wanted.length >= 3 && (word.startsWith(wanted) || wanted.startsWith(`${word}_`))) ?? null
}

/** `maxFailures` and `max-failures` are how other tools spell `max_failures`. */
function normal(key: string): string {
  return key
    .slice(0, 80)
    .replace(/([a-z])([A-Z])/g, '$1_$2')
    .replaceAll('-', '_')
    .toLowerCase()
}

/** Where in the schema a key of this name may stand; a name that the person chooses shows as NAME. */
function placesOf(key: string): Path[] {
  const places: Path[] = []
  const visit = (schema: JsonSchema, path: Path) => {
    for (const branch of [schema, ...(schema.anyOf ?? []), ...(schema.oneOf ?? [])]) {
      if (branch.properties !== undefined) {
        if (Object.hasOwn(branch.properties, key) && !places.some((place) => formatPath(place) === formatPath(path)))
          places.push(path)
        for (const [name, inner] of Object.entries(branch.properties)) visit(inner, [...path, name])
      }
      if (typeof branch.additionalProperties === 'object') visit(branch.additionalProperties, [...path, 'NAME'])
      if (branch.items !== undefined) visit(branch.items, path)
    }
  }
  visit(configJsonSchema(), [])
  return places
}
