/** An error as ELB's Query API answers it. */
export class QueryError extends Error {
  readonly code: string
  readonly status: number

  constructor(code: string, message: string, status = 400) {
    super(message)
    this.code = code
    this.status = status
  }
}

/**
 * The parameters of one call of an AWS Query API, as they stand in its body. Each one has to be asked for: what is left
 * over at the end was not expected, and `end` refuses it. AWS itself ignores some of that; a test server must not.
 */
export class QueryParameters {
  readonly #values: Map<string, string>
  readonly #used = new Set<string>()

  constructor(body: string) {
    const pairs = [...new URLSearchParams(body)]
    this.#values = new Map(pairs)
    if (this.#values.size !== pairs.length)
      throw new QueryError('MalformedQueryString', 'A parameter stands twice', 404)
  }

  text(name: string): string {
    const value = this.optional(name)
    if (value === null || value === '')
      throw new QueryError(
        'ValidationError',
        `1 validation error detected: Value null at '${name}' failed to satisfy constraint: Member must not be null`,
      )
    return value
  }

  optional(name: string): string | null {
    this.#used.add(name)
    return this.#values.get(name) ?? null
  }

  /** A list: `Names.member.1`, `Names.member.2` … without gaps. With `parts` each entry is a structure of these. */
  list(name: string, parts: readonly string[]): Record<string, string>[] | null {
    const entries: Record<string, string>[] = []
    for (let number = 1; ; number++) {
      const entry: Record<string, string> = {}
      for (const part of parts) {
        const value = this.optional(`${name}.member.${number}${part === '' ? '' : `.${part}`}`)
        if (value !== null) entry[part] = value
      }
      if (Object.keys(entry).length === 0) break
      entries.push(entry)
    }
    return entries.length === 0 ? null : entries
  }

  /** Throws for every parameter that nobody asked for. */
  end(): void {
    const left = [...this.#values.keys()].filter((name) => !this.#used.has(name))
    if (left.length > 0) throw new QueryError('ValidationError', `Unknown parameters: ${left.join(', ')}`)
  }
}

export type XmlValue =
  string | number | boolean | null | undefined | readonly XmlValue[] | { readonly [name: string]: XmlValue }

/** A value as the Query protocol writes it: lists as `member` elements, null and undefined left out. */
export function xml(name: string, value: XmlValue): string {
  if (value === null || value === undefined) return ''
  if (Array.isArray(value)) return `<${name}>${value.map((entry: XmlValue) => xml('member', entry)).join('')}</${name}>`
  if (typeof value === 'object')
    return `<${name}>${Object.entries(value)
      .map(([key, inner]) => xml(key, inner))
      .join('')}</${name}>`
  return `<${name}>${escape(String(value))}</${name}>`
}

function escape(text: string): string {
  return text.replaceAll('&', '&amp;').replaceAll('<', '&lt;').replaceAll('>', '&gt;').replaceAll('"', '&quot;')
}
