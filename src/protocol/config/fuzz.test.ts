import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { test } from 'node:test'
import { parse, stringify } from 'yaml'
import { branchFor, configJsonSchema, inWords, schemaAt, valueAt, type JsonSchema, type Path } from './schema.ts'
import { inspectConfig, readConfig } from './text.ts'
import { DployError } from '../errors.ts'

/** The example has every key, so that what is done to each of its values is done to each key of the schema. */
const example = parse(readFileSync(new URL('../../../docs/dploy.example.yml', import.meta.url), 'utf8')) as unknown
const paths = pathsOf(example)

test('an unknown key is told in every mapping, at its line', () => {
  let mappings = 0
  for (const path of [[], ...paths]) {
    const value = valueAt(path, example)
    const schema = schemaAt(path, example)
    if (
      typeof value !== 'object' ||
      value === null ||
      Array.isArray(value) ||
      schema === null ||
      branchFor(schema, value).properties === undefined
    )
      continue
    const { text, error } = refused(path, { ...value, zzz_unknown: 1 })
    assert.equal(linesOf(text)[lineOf(error) - 1]?.trim(), 'zzz_unknown: 1', error.message)
    assert.match(error.message, /unknown key "zzz_unknown"/)
    mappings++
  }
  assert.ok(mappings >= 15, `${mappings} mappings`)
})

test('a value of the wrong kind is told at every key, at its line', { timeout: 60_000 }, () => {
  let values = 0
  for (const path of paths) {
    const schema = schemaAt(path, example)
    assert.ok(schema, path.join('.'))
    for (const wrong of wrongFor(schema)) {
      const { text, error } = refused(path, wrong)
      const key = path.findLast((one) => typeof one === 'string')!
      const line = linesOf(text)[lineOf(error) - 1]!
      assert.ok(
        line.includes(key) || line.trim().startsWith('-') || line.trim().startsWith('? '),
        `${error.message}\n${line}`,
      )
      values++
    }
  }
  assert.ok(values > 200, `${values} values`)
})

test('a key that has to be there is missed, at the mapping it belongs in', () => {
  for (const path of [
    ['application'],
    ['environments'],
    ['environments', 'production', 'servers', 0, 'name'],
    ['environments', 'production', 'balancer', 'kind'],
    ['environments', 'production', 'balancer', 'backend'],
    ['source', 'repository'],
    ['release_command', 'command'],
  ] as Path[]) {
    const { error } = refused(path, undefined)
    assert.match(error.message, /is missing/)
  }
})

const random = seeded(20_260)
const stranger: [name: string, text: () => string][] = [
  [
    'bytes at random',
    () => Buffer.from(Array.from({ length: 400 }, () => Math.floor(random() * 256))).toString('utf8'),
  ],
  [
    'punctuation of YAML at random',
    () => Array.from({ length: 200 }, () => '{}[],:-?&*!|>%@`"\'# \n\tab'.charAt(Math.floor(random() * 26))).join(''),
  ],
  ['the example with a character changed', () => mutated(stringify(example), 1)],
  ['the example with twenty characters changed', () => mutated(stringify(example), 20)],
  ['the example cut off', () => stringify(example).slice(0, Math.floor(random() * 2500))],
]

for (const [name, text] of stranger) {
  test(`reads or refuses ${name}, always with a line`, { timeout: 60_000 }, () => {
    for (let round = 0; round < 60; round++) answered(text())
  })
}

const bombs: [name: string, text: string][] = [
  ['brackets nested a hundred thousand deep', '['.repeat(100_000)],
  ['mappings nested a hundred thousand deep', '{a: '.repeat(100_000)],
  ['dashes nested ten thousand deep', '- '.repeat(10_000)],
  [
    'indentation nested a thousand deep',
    Array.from({ length: 1000 }, (_, depth) => `${' '.repeat(depth)}a:`).join('\n'),
  ],
  ['a closed nesting', `application: ${'['.repeat(60)}${']'.repeat(60)}`],
  [
    'a billion laughs',
    `a0: &a0 [x, x]\n${Array.from({ length: 40 }, (_, index) => `a${index + 1}: &a${index + 1} [*a${index}, *a${index}]`).join('\n')}`,
  ],
  ['long text many times over', `a: &a ${'x'.repeat(100_000)}\nb: [${'*a, '.repeat(10_000)}]`],
  [
    'merges of merges',
    `a0: &a0 {x: 1}\n${Array.from({ length: 30 }, (_, index) => `a${index + 1}: &a${index + 1} {<<: [*a${index}, *a${index}]}`).join('\n')}`,
  ],
  ['a hundred thousand keys', Array.from({ length: 100_000 }, (_, index) => `k${index}: 1`).join('\n')],
  ['fifty thousand wrong servers', `application: x\nenvironments: {p: {servers: [${'{nam: x}, '.repeat(50_000)}]}}`],
  ['a key of a megabyte', `${'k'.repeat(1_000_000)}: 1`],
  ['a value of a megabyte', `application: ${'v'.repeat(1_000_000)}`],
  ['half a million quotes', '"'.repeat(500_000)],
]

for (const [name, text] of bombs) {
  test(`survives ${name}`, { timeout: 20_000 }, () => {
    assert.equal(answered(text), null)
  })
}

/** Reads the text; if it is refused, the error is one for people. Returns the configuration or null. */
function answered(text: string): unknown {
  try {
    return readConfig(text)
  } catch (error) {
    assertForPeople(error, text)
    return null
  }
}

function assertForPeople(error: unknown, text: string): asserts error is DployError {
  assert.ok(error instanceof DployError, `${error instanceof Error ? error.stack : String(error)}`)
  assert.equal(error.code, 'config.invalid')
  assert.match(error.message, /^dploy\.yml:\d+:\d+ {2}\S/)
  assert.equal(error.where, `dploy.yml:${lineOf(error)}`)
  assert.ok(lineOf(error) >= 1 && lineOf(error) <= linesOf(text).length, error.message)
  assert.ok(error.message.length < 40_000, `a message of ${error.message.length} characters`)
  assert.doesNotMatch(error.message, /Invalid input|\bundefined\b|\[object|\bNaN\b|Maximum call stack|\.ts:\d/)
}

/** What comes of the example with another value at a path (`undefined`: without the key). */
function refused(path: Path, value: unknown): { text: string; error: DployError } {
  const copy = structuredClone(example)
  const parent = valueAt(path.slice(0, -1), copy) as Record<string | number, unknown>
  const last = path.at(-1)
  const changed = last === undefined ? value : copy
  if (last !== undefined) {
    if (value === undefined) delete parent[last]
    else parent[last] = value
  }
  const text = stringify(changed)
  try {
    readConfig(text)
  } catch (error) {
    assertForPeople(error, text)
    return { text, error }
  }
  return assert.fail(`${path.join('.')} = ${JSON.stringify(value)} was accepted`)
}

/** Values that no branch of a schema takes, by their kind; out of range too. */
function wrongFor(schema: JsonSchema): unknown[] {
  const branches = [schema, ...(schema.anyOf ?? []), ...(schema.oneOf ?? [])]
  const takes = (...types: string[]) =>
    branches.some((branch) => [branch.type].flat().some((type) => type !== undefined && types.includes(type)))
  const wrong: unknown[] = [null]
  if (!takes('object')) wrong.push({ a: 1 })
  if (!takes('array')) wrong.push([{ a: 1 }], [])
  if (!takes('string')) wrong.push('some words')
  if (!takes('number', 'integer')) wrong.push(-7.5)
  if (!takes('boolean')) wrong.push(true)
  if (takes('integer')) wrong.push(0.5, -1)
  if (takes('string') && !/true or false/.test(inWords(schema))) wrong.push('', 'x'.repeat(30_000))
  return wrong
}

function pathsOf(value: unknown, path: (string | number)[] = []): (string | number)[][] {
  if (typeof value !== 'object' || value === null) return []
  const keys = Array.isArray(value) ? value.map((_, index) => index) : Object.keys(value)
  return keys.flatMap((key) => [
    [...path, key],
    ...pathsOf((value as Record<string | number, unknown>)[key], [...path, key]),
  ])
}

function lineOf(error: DployError): number {
  return Number(/^dploy\.yml:(\d+)/.exec(error.message)![1])
}

function linesOf(text: string): string[] {
  return text.split(/\r?\n/)
}

function mutated(text: string, times: number): string {
  let result = text
  for (let time = 0; time < times; time++) {
    const at = Math.floor(random() * result.length)
    result =
      result.slice(0, at) +
      '{}[]:-#&*"\' \n\t0az\u0000%'.charAt(Math.floor(random() * 20)) +
      result.slice(at + Math.floor(random() * 2))
  }
  return result
}

/** The same numbers in every run, so that a failure can be looked at (mulberry32). */
function seeded(seed: number): () => number {
  let state = seed
  return () => {
    state = (state + 0x6d2b79f5) | 0
    let value = Math.imul(state ^ (state >>> 15), 1 | state)
    value = (value + Math.imul(value ^ (value >>> 7), 61 | value)) ^ value
    return ((value ^ (value >>> 14)) >>> 0) / 4_294_967_296
  }
}

test('the example is where this begins', () => {
  assert.deepEqual(inspectConfig(stringify(example)).errors, [])
  assert.ok(paths.length > 80)
  assert.ok(Object.keys(configJsonSchema().properties ?? {}).every((key) => paths.some((path) => path[0] === key)))
})
