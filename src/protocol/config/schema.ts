import * as z from 'zod'
import { configSchema } from './config.ts'

/** The part of JSON Schema (draft 2020-12) that the schema of dploy.yml consists of. */
export interface JsonSchema {
  type?: string | string[]
  title?: string
  description?: string
  default?: unknown
  examples?: unknown[]
  enum?: unknown[]
  const?: unknown
  pattern?: string
  minimum?: number
  maximum?: number
  minItems?: number
  items?: JsonSchema
  properties?: Record<string, JsonSchema>
  required?: string[]
  propertyNames?: JsonSchema
  additionalProperties?: JsonSchema | boolean
  anyOf?: JsonSchema[]
  oneOf?: JsonSchema[]
}

export type Path = readonly (string | number)[]

let made: JsonSchema | null = null

/** The JSON Schema of dploy.yml, for editors; made from the schema that validates it, once. */
export function configJsonSchema(): JsonSchema {
  made ??= z.toJSONSchema(configSchema, {
    io: 'input',
    // Zod leaves out defaults and examples where the value is transformed; ours are values as a person writes them.
    override: ({ zodSchema, jsonSchema }) => {
      const examples = z.globalRegistry.get(zodSchema)?.['examples']
      if (examples !== undefined) jsonSchema.examples = examples as unknown[]
      const def = zodSchema._zod.def
      if (def.type === 'default') jsonSchema.default = (def as z.core.$ZodDefaultDef).defaultValue as never
    },
  }) as JsonSchema
  return made
}

/**
 * The schema of what stands at a path, unions not yet decided; null where the schema has no such place. `root` is the
 * value of the whole file: it decides which branch of a union the path goes through.
 */
export function schemaAt(path: Path, root: unknown): JsonSchema | null {
  let schema: JsonSchema | null = configJsonSchema()
  let value = root
  for (const key of path) {
    const branch: JsonSchema = branchFor(schema, value)
    schema = typeof key === 'number' ? (branch.items ?? null) : (branch.properties?.[key] ?? additional(branch))
    if (schema === null) return null
    value = valueAt([key], value)
  }
  return schema
}

/** The keys that may stand at a path; empty where names are free or no mapping is meant. */
export function keysAt(path: Path, root: unknown): string[] {
  const schema = schemaAt(path, root)
  return schema === null ? [] : Object.keys(branchFor(schema, valueAt(path, root)).properties ?? {})
}

/** The value at a path; undefined where there is none. */
export function valueAt(path: Path, root: unknown): unknown {
  let value = root
  for (const key of path) {
    if (typeof value !== 'object' || value === null || !Object.hasOwn(value, key)) return undefined
    value = (value as Record<string | number, unknown>)[key]
  }
  return value
}

/** The branch of a union that fits a value best, by its kind of value and by its `kind` key; the schema itself if it is no union. */
export function branchFor(schema: JsonSchema, value: unknown): JsonSchema {
  const branches = schema.anyOf ?? schema.oneOf
  if (branches === undefined) return schema
  const wanted = Array.isArray(value) ? 'array' : typeof value === 'object' && value !== null ? 'object' : typeof value
  const fitting = branches.filter(
    (branch) => branch.type === wanted || (branch.type === 'integer' && wanted === 'number'),
  )
  const kind = wanted === 'object' ? (value as Record<string, unknown>)['kind'] : undefined
  return (
    fitting.find(
      (branch) => branch.properties?.['kind']?.const !== undefined && branch.properties['kind'].const === kind,
    ) ??
    fitting[0] ??
    branches.at(-1)!
  )
}

/** What a value has to be, in plain words: `a whole number from 1 to 65535`, `rolling or all-at-once`. */
export function inWords(schema: JsonSchema): string {
  if (schema.title !== undefined) return schema.title
  if (schema.const !== undefined) return JSON.stringify(schema.const)
  if (schema.enum !== undefined) return orList(schema.enum.map((one) => JSON.stringify(one)))
  const branches = schema.anyOf ?? schema.oneOf
  if (branches !== undefined) return orList([...new Set(branches.map(inWords))])
  if (Array.isArray(schema.type)) return orList(schema.type.map((type) => inWords({ ...schema, type })))
  switch (schema.type) {
    case 'integer':
      return `a whole number${range(schema)}`
    case 'number':
      return `a number${range(schema)}`
    case 'boolean':
      return 'true or false'
    case 'array':
      return `a list${schema.minItems === undefined ? '' : ' that is not empty'}, each entry ${inWords(schema.items ?? {})}`
    case 'object':
      return schema.properties === undefined
        ? `a mapping from names to ${inWords(additional(schema) ?? {})}`
        : `a mapping with the keys ${Object.keys(schema.properties).join(', ')}`
    default:
      return 'text'
  }
}

/** `a, b or c`. */
export function orList(words: readonly string[]): string {
  return words.length < 2 ? words.join('') : `${words.slice(0, -1).join(', ')} or ${words.at(-1)}`
}

function additional(schema: JsonSchema): JsonSchema | null {
  return typeof schema.additionalProperties === 'object' ? schema.additionalProperties : null
}

function range(schema: JsonSchema): string {
  // Zod writes the safe integers as bounds where none were asked for.
  const most = schema.maximum === undefined || schema.maximum >= Number.MAX_SAFE_INTEGER ? null : schema.maximum
  const least = schema.minimum === undefined || schema.minimum <= Number.MIN_SAFE_INTEGER ? null : schema.minimum
  if (least !== null && most !== null) return ` from ${least} to ${most}`
  if (least !== null) return `, at least ${least}`
  return most === null ? '' : `, at most ${most}`
}
