import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { test } from 'node:test'
import { parse } from 'yaml'
import { configDocs } from './docs.ts'
import { formatPath } from './problem.ts'
import { configJsonSchema, inWords, type JsonSchema } from './schema.ts'
import { inspectConfig } from './text.ts'

const docs = (name: string) => readFileSync(new URL(`../../../docs/${name}`, import.meta.url), 'utf8')

for (const [name, content] of Object.entries(configDocs())) {
  test(`docs/${name} is in step with the schema`, () => {
    assert.ok(
      docs(name) === content,
      `docs/${name} differs from the schema; rewrite it with: node src/protocol/config/docs.ts`,
    )
  })
}

test('the example is valid, and warns only of keys that belong to another manager', () => {
  const { config, errors, warnings } = inspectConfig(docs('dploy.example.yml'))
  assert.deepEqual(errors, [])
  assert.equal(config?.application, 'shop')
  assert.deepEqual(
    warnings.map((warning) => formatPath(warning.path)),
    ['service.restart', 'service.status', 'service.logs'],
  )
})

test('the example uses every key of the schema', () => {
  const used = keysOf(parse(docs('dploy.example.yml')), configJsonSchema())
  assert.deepEqual(
    allKeys(configJsonSchema()).filter((key) => !used.has(key)),
    [],
  )
})

test('the reference names every key', () => {
  const reference = docs('dploy-yml.md')
  for (const key of allKeys(configJsonSchema()))
    assert.match(reference, new RegExp(`^\\| \\[?\`${key.split('.').at(-1)}\``, 'm'), key)
})

test('every key says what it means, and every value what it has to be', () => {
  visit(configJsonSchema(), '', (path, schema) => {
    assert.ok(schema.description, `${path} has no description`)
    assert.doesNotMatch(inWords(schema), /undefined|^text$/, `${path} does not say what it has to be`)
  })
})

test('the schema for editors has a pattern that they can compile for all that it restricts', () => {
  const patterns: string[] = []
  JSON.stringify(configJsonSchema(), (key, value: unknown) =>
    key === 'pattern' ? (patterns.push(value as string), value) : value,
  )
  assert.ok(patterns.length > 20)
  for (const pattern of patterns) new RegExp(pattern, 'u')
})

function allKeys(schema: JsonSchema): string[] {
  const keys = new Set<string>()
  visit(schema, '', (path) => keys.add(path))
  return [...keys]
}

function visit(schema: JsonSchema, path: string, each: (path: string, schema: JsonSchema) => void): void {
  for (const [key, inner] of Object.entries(schema.properties ?? {})) {
    const at = path === '' ? key : `${path}.${key}`
    each(at, inner)
    visit(inner, at, each)
  }
  if (typeof schema.additionalProperties === 'object') visit(schema.additionalProperties, `${path}.NAME`, each)
  if (schema.items !== undefined) visit(schema.items, path, each)
  for (const branch of [...(schema.anyOf ?? []), ...(schema.oneOf ?? [])]) visit(branch, path, each)
}

/** The keys that a value uses, with names of the person's own as NAME. */
function keysOf(value: unknown, schema: JsonSchema): Set<string> {
  const named = new Set<string>()
  visit(schema, '', (path) => named.add(path))
  const used = new Set<string>()
  const walk = (inner: unknown, path: string): void => {
    if (Array.isArray(inner)) return inner.forEach((one) => walk(one, path))
    if (typeof inner !== 'object' || inner === null) return
    for (const [key, below] of Object.entries(inner)) {
      const plain = path === '' ? key : `${path}.${key}`
      const at = named.has(plain) ? plain : `${path}.NAME`
      used.add(at)
      walk(below, at)
    }
  }
  walk(value, '')
  return used
}
