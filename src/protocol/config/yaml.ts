import {
  isAlias,
  isMap,
  isScalar,
  isSeq,
  LineCounter,
  parseDocument,
  visit,
  type Alias,
  type Document,
  type ErrorCode,
  type Node,
  type Pair,
  type Scalar,
  type YAMLMap,
  type YAMLSeq,
} from 'yaml'
import type { ConfigProblem } from './problem.ts'
import type { Path } from './schema.ts'

/** Far over what anyone writes (10,000 servers with addresses are 600 KB), far under what could hurt whoever reads it. */
const maxBytes = 1024 * 1024
const maxDepth = 40
/** Values after anchors are filled in, and the characters they hold together. */
const maxValues = 300_000
const maxCharacters = 8 * 1024 * 1024
const maxSyntaxProblems = 5

/** YAML text as a value that remembers where each part stands. */
export interface ConfigYaml {
  value: unknown
  problems: ConfigProblem[]
  lines: string[]
  /** Where the value at a path stands, or with `key` the key before it. Of what is not there: the mapping it is missing in. */
  locate(path: Path, part: 'key' | 'value'): { line: number; column: number; length: number }
}

/**
 * Reads YAML 1.2 (core schema). Anchors, aliases and `<<` work, within bounds; a key that stands twice, a tag, a second
 * document and what is no text are problems. Never throws.
 */
export function readYaml(text: string): ConfigYaml {
  const source = text.startsWith('\ufeff') ? text.slice(1) : text
  const unreadable = problemOfText(source)
  if (unreadable !== null)
    return {
      value: undefined,
      problems: [unreadable],
      lines: source.slice(0, maxBytes).split(/\r?\n/),
      locate: () => unreadable,
    }

  const lines = source.split(/\r?\n/)
  const lineCounter = new LineCounter()
  const document = parseDocument(source, {
    version: '1.2',
    schema: 'core',
    stringKeys: true,
    uniqueKeys: false,
    resolveKnownTags: false,
    prettyErrors: false,
    logLevel: 'error',
    lineCounter,
  })
  const positionOf = (start: number, end: number) => {
    const { line, col } = lineCounter.linePos(Math.min(start, source.length))
    const column = Math.max(1, col)
    return {
      line: Math.max(1, line),
      column,
      length: Math.max(1, Math.min(end - start, (lines[Math.max(1, line) - 1]?.length ?? 0) - column + 1)),
    }
  }
  const positionOfNode = (node: unknown) => {
    const range = (node as Node | null | undefined)?.range
    return range ? positionOf(range[0], range[1]) : null
  }

  const syntax = [...document.errors, ...document.warnings].sort((a, b) => a.pos[0] - b.pos[0])
  if (syntax.length > 0) {
    const exhausted = syntax.find((error) => error.code === 'RESOURCE_EXHAUSTION')
    const shown = exhausted
      ? [exhausted]
      : onePerLine(syntax, (error) => positionOf(...error.pos).line).slice(0, maxSyntaxProblems)
    const problems = shown.map((error) => {
      const begun = error.code === 'MISSING_CHAR' ? quoteBefore(document, error.pos[0]) : null
      if (begun !== null)
        return { message: 'a quote begins here and is not closed', path: [], ...positionOf(begun, begun + 1) }
      return { message: plainSyntax[error.code] ?? error.message, path: [], ...positionOf(...error.pos) }
    })
    return { value: undefined, problems, lines, locate: () => problems[0]! }
  }

  const conversion = new Conversion((message, path, node) => ({
    message,
    path,
    ...(positionOfNode(node) ?? positionOf(0, 1)),
  }))
  const root: unknown = document.contents
  const value = conversion.convert(root as Node | null, [])
  return {
    value,
    problems: conversion.problems,
    lines,
    locate: (path, part) => {
      const found = conversion.find(root as Node | null, path)
      return (
        positionOfNode(part === 'key' ? (found.key ?? found.value) : (found.value ?? found.key)) ??
        positionOfNode(found.key) ??
        positionOf(firstOf(lines), firstOf(lines) + 1)
      )
    },
  }
}

const plainSyntax: Partial<Record<ErrorCode, string>> = {
  TAB_AS_INDENT: 'a tab stands in the indentation; indent with spaces',
  BLOCK_AS_IMPLICIT_KEY: 'two keys stand on one line; begin a new line, or put text with a ":" in quotes',
  MULTILINE_IMPLICIT_KEY: 'a key goes over several lines, or its ":" is missing',
  BAD_INDENT: 'the indentation does not fit the lines before, or a bracket is not closed',
  BAD_ALIAS: 'the alias is not valid; text that begins with "*" or "&" needs quotes',
  BAD_SCALAR_START: 'text cannot begin with this character; put it in quotes',
  MULTIPLE_DOCS: 'a second document begins here ("---"); a file holds one application',
  BAD_DIRECTIVE: 'directives (%…) have no meaning here; remove the line',
  NON_STRING_KEY: 'a key has to be text',
  TAG_RESOLVE_FAILED: 'tags (!…) have no meaning here; put text that begins with "!" in quotes',
  RESOURCE_EXHAUSTION: 'the values are nested too deeply',
}

function problemOfText(text: string): ConfigProblem | null {
  const bytes = text.length > maxBytes ? text.length : Buffer.byteLength(text)
  if (bytes > maxBytes) {
    const line = text.slice(0, maxBytes).split('\n').length
    return { message: `the file is too large: over ${maxBytes / 1024 / 1024} MB`, path: [], line, column: 1, length: 1 }
  }
  const at = text.search(/[\x00-\x08\x0b\x0c\x0e-\x1f\x7f\ufffd]/)
  if (at < 0) return null
  const before = text.slice(0, at).split(/\r?\n/)
  return {
    message: 'the file is not text in UTF-8: it has a control character or an invalid byte here',
    path: [],
    line: before.length,
    column: before.at(-1)!.length + 1,
    length: 1,
  }
}

/** Where the text in quotes begins that goes on until here: the end of the file says nothing about what is missing. */
function quoteBefore(document: Document, end: number): number | null {
  let begun: number | null = null
  visit(document, {
    Scalar: (_, node) => {
      if (
        (node.type === 'QUOTE_DOUBLE' || node.type === 'QUOTE_SINGLE') &&
        node.range &&
        node.range[0] < end &&
        node.range[2] >= end
      )
        begun = node.range[0]
    },
  })
  return begun
}

function firstOf(lines: readonly string[]): number {
  let offset = 0
  for (const line of lines) {
    if (line.trim() !== '' && !line.trimStart().startsWith('#')) return offset
    offset += line.length + 1
  }
  return 0
}

function onePerLine<T>(items: readonly T[], lineOf: (item: T) => number): T[] {
  const seen = new Set<number>()
  return items.filter((item) => !seen.has(lineOf(item)) && seen.add(lineOf(item)))
}

/** Makes plain values of YAML nodes. Not the library's own way: that knows no bound on values and no place of a duplicate. */
class Conversion {
  readonly problems: ConfigProblem[] = []
  readonly #problemAt: (message: string, path: Path, node: unknown) => ConfigProblem
  readonly #anchors = new Map<string, Node>()
  readonly #targets = new Map<Alias, Node>()
  readonly #open = new Set<Node>()
  #values = 0
  #characters = 0
  #stopped = false

  constructor(problemAt: (message: string, path: Path, node: unknown) => ConfigProblem) {
    this.#problemAt = problemAt
  }

  convert(node: Node | null, path: Path): unknown {
    if (this.#stopped) return undefined
    if (node === null) return null
    if (isAlias(node)) return this.#convertAlias(node, path)
    if (node.anchor !== undefined && node.anchor !== '') this.#anchors.set(node.anchor, node)
    this.#count(node, path)
    if (isScalar(node)) return scalarValue(node, path)
    this.#open.add(node)
    try {
      if (isSeq(node))
        return (node as YAMLSeq<Node | null>).items.map((item, index) => this.convert(item, [...path, index]))
      if (isMap(node)) return this.#convertMap(node as YAMLMap<Scalar, Node | null>, path)
    } finally {
      this.#open.delete(node)
    }
    return undefined
  }

  /** The nodes at a path, through aliases and merged mappings; of a path that leads nowhere, the last ones that are there. */
  find(root: Node | null, path: Path): { key: Node | null; value: Node | null } {
    let found: { key: Node | null; value: Node | null } = { key: null, value: root }
    for (const step of path) {
      const node = this.#behind(found.value)
      const next =
        isSeq(node) && typeof step === 'number'
          ? { key: null, value: (node.items[step] as Node | undefined) ?? null }
          : this.#pairIn(node, String(step))
      if (next === null || (next.key === null && next.value === null))
        return { key: found.key, value: found.key === null ? firstKey(found.value) : null }
      found = next
    }
    return found
  }

  #convertAlias(alias: Alias, path: Path): unknown {
    const target = this.#anchors.get(alias.source)
    if (target === undefined)
      return void this.problems.push(
        this.#problemAt(
          `there is no anchor &${alias.source} before this alias; text that begins with "*" needs quotes`,
          path,
          alias,
        ),
      )
    if (this.#open.has(target))
      return void this.problems.push(this.#problemAt(`the alias *${alias.source} contains itself`, path, alias))
    this.#targets.set(alias, target)
    return this.convert(target, path)
  }

  #convertMap(map: YAMLMap<Scalar, Node | null>, path: Path): unknown {
    const value: Record<string, unknown> = Object.create(null) as Record<string, unknown>
    const merged: Pair<Scalar, Node | null>[] = []
    for (const pair of map.items) {
      const key = String(pair.key.value ?? '')
      if (isMerge(pair)) merged.push(pair)
      else if (Object.hasOwn(value, key))
        this.problems.push(this.#problemAt(`the key "${key}" stands twice`, [...path, key], pair.key))
      else if (key === '__proto__')
        this.problems.push(this.#problemAt('a key cannot be called "__proto__"', path, pair.key))
      else value[key] = this.convert(pair.value, [...path, key])
    }
    for (const pair of merged) this.#merge(value, pair, path)
    return value
  }

  /** `<<: *base`: keys of the mapping itself win over merged ones. */
  #merge(value: Record<string, unknown>, pair: Pair<Scalar, Node | null>, path: Path): void {
    const bases = isSeq(pair.value) ? (pair.value.items as (Node | null)[]) : [pair.value]
    for (const base of bases) {
      const converted = this.convert(base, path)
      if (typeof converted === 'object' && converted !== null && !Array.isArray(converted)) {
        for (const [key, inner] of Object.entries(converted)) if (!Object.hasOwn(value, key)) value[key] = inner
      } else if (!this.#stopped && converted !== undefined) {
        this.problems.push(this.#problemAt('"<<" takes a mapping, such as *base', path, pair.key))
      }
    }
  }

  #count(node: Node, path: Path): void {
    this.#values++
    if (isScalar(node) && typeof node.value === 'string') this.#characters += node.value.length
    const message =
      path.length > maxDepth
        ? `the values are nested over ${maxDepth} deep`
        : this.#values > maxValues || this.#characters > maxCharacters
          ? 'the aliases grow into too many values'
          : null
    if (message === null) return
    this.#stopped = true
    this.problems.push(this.#problemAt(message, path.slice(0, 5), node))
  }

  #behind(node: Node | null): Node | null {
    return isAlias(node) ? (this.#targets.get(node) ?? null) : node
  }

  #pairIn(node: Node | null, key: string): { key: Node; value: Node | null } | null {
    if (!isMap(node)) return null
    const pairs = (node as YAMLMap<Scalar, Node | null>).items
    for (const pair of pairs)
      if (!isMerge(pair) && String(pair.key.value ?? '') === key) return { key: pair.key, value: pair.value }
    for (const pair of pairs) {
      if (!isMerge(pair)) continue
      for (const base of isSeq(pair.value) ? (pair.value.items as (Node | null)[]) : [pair.value]) {
        const found = this.#pairIn(this.#behind(base), key)
        if (found !== null) return found
      }
    }
    return null
  }
}

function isMerge(pair: Pair<Scalar, Node | null>): boolean {
  return pair.key.value === '<<' && pair.key.type === 'PLAIN'
}

function firstKey(node: Node | null): Node | null {
  return isMap(node) ? ((node.items[0]?.key as Node | undefined) ?? node) : node
}

/** In `variables` and `tags` what was written counts: `VERSION: 1.10` is not 1.1. */
function scalarValue(node: Scalar, path: Path): unknown {
  const parent = path.at(-2)
  const asWritten =
    (parent === 'variables' || parent === 'tags') && (typeof node.value === 'number' || typeof node.value === 'boolean')
  return asWritten && node.source !== undefined ? node.source : node.value
}
