import { request as ask, Agent } from 'node:http'
import type { OpenApiDocument, OpenApiOperation } from '../../src/protocol/api/openapi.ts'

/** Inputs that nobody means well, for any operation, made from the OpenAPI document. */

export interface HostileRequest {
  name: string
  method: string
  /** As it goes over the wire: nothing is made nicer on the way. */
  path: string
  headers: Record<string, string>
  body?: Buffer | undefined
}

type Json = Record<string, unknown>

/** After OWASP's testing guide (WSTG-INPV): injection, traversal, formats, sizes, encodings. */
const strings: Record<string, string> = {
  nothing: '',
  'a null byte': 'a\0b',
  'path traversal': '../../../../etc/passwd',
  'Windows path traversal': '..\\..\\windows\\win.ini',
  SQL: "' OR 1=1; DROP TABLE deployments; --",
  'a shell': '$(id); `id` | cat /etc/passwd &',
  'an option': '--upload-pack=touch /tmp/dploy-was-here',
  'a script': '<script>alert(1)</script>"\'>',
  'a template': '{{7*7}}${7*7}#{7*7}%s%n%x',
  lines: 'a\r\nSet-Cookie: x=y\r\n\r\nb',
  unicode: '💥\u202Eabc\uFEFF\u0000é́',
  'half a character': '\uD800',
  'a prototype': '__proto__',
  'a constructor': 'constructor',
  'not a number': 'NaN',
  'far too large': '1e999',
  'below zero': '-1',
  'a large number': '9007199254740993',
  hexadecimal: '0x10',
  'an address inside': 'http://169.254.169.254/latest/meta-data/',
  long: 'a'.repeat(3_000),
}

const values: [string, unknown][] = [
  ...Object.entries(strings),
  ['null', null],
  ['true', true],
  ['a number', 1],
  ['below zero', -1],
  ['a fraction', 0.5],
  ['a huge number', 1e308],
  ['a list', []],
  ['an object', {}],
  ['a list of everything', [null, {}, [], '', 0]],
  ['an object within objects', { a: { b: { c: {} } } }],
  ['very long', 'a'.repeat(200_000)],
  ['a long list', Array.from({ length: 20_000 }, () => 'x')],
]

const deep = 100_000
/** Bodies that are refused before anybody looks at their fields, or should be. */
const bodies: Record<string, string | Buffer> = {
  nothing: '',
  null: 'null',
  'a number': '1',
  'a text': '"x"',
  'a list': '[]',
  'half of it': '{"a":',
  'no JSON': '<xml/>',
  'lists within lists': `${'['.repeat(deep)}${']'.repeat(deep)}`,
  'objects within objects': `${'{"a":'.repeat(deep)}1${'}'.repeat(deep)}`,
  'a prototype': '{"__proto__":{"polluted":true}}',
  'a constructor': '{"constructor":{"prototype":{"polluted":true}}}',
  'the same twice': '{"a":1,"a":2}',
  'a number beyond all': '{"a":1e99999}',
  'what is no UTF-8': Buffer.from([0x7b, 0x22, 0xff, 0xfe, 0x22, 0x3a, 0x31, 0x7d]),
  'a byte order mark': '\uFEFF{}',
  'unknown fields': JSON.stringify(
    Object.fromEntries(Array.from({ length: 5_000 }, (_, index) => [`field${index}`, index])),
  ),
}

/** Of texts that are read further. */
const texts: Record<string, string[]> = {
  text: [
    `a: &a [x,x,x,x,x,x,x,x,x]\n${'bcdefghij'
      .split('')
      .map((one, index) => `${one}: &${one} [${Array.from({ length: 9 }, () => `*${'abcdefghij'[index]!}`).join(',')}]`)
      .join('\n')}`,
    '['.repeat(20_000),
    '{a: '.repeat(20_000),
    `${'- '.repeat(20_000)}x`,
    'application: !!js/function "x"',
    '%YAML 9.9\n---\n*x',
    'application: shop\n\tenvironments: x',
    '? {a: b}\n: c',
    '&a a: *a',
    '<<: [*a]',
    'application: __proto__\nenvironments: { __proto__: { servers: [a] } }',
    'application: "../.."\nsource: { repository: "ext::sh -c id" }\nenvironments: { "..": { servers: ["../x"] } }',
  ],
  manifest: [
    '{"files":[{"path":"../../etc/passwd","mode":420,"size":1,"digest":"x"}]}',
    '['.repeat(deep),
    '\0',
    'x'.repeat(100_000),
  ],
}

/** Every hostile request to one operation. `known`: values of what there is, by the name of the parameter. */
export function* hostileTo(
  path: string,
  method: string,
  operation: OpenApiOperation,
  document: OpenApiDocument,
  known: Readonly<Record<string, string>>,
): Generator<HostileRequest> {
  const of = (what: string) => `${operation.operationId}: ${what}`
  const [type, content] = Object.entries(operation.requestBody?.content ?? {})[0] ?? []
  const good = type === 'application/json' ? (content!.example ?? sampleOf(content!.schema, document)) : undefined
  const json = (value: unknown) => ({
    headers: { 'content-type': 'application/json' },
    body: Buffer.from(JSON.stringify(value)),
  })
  const sent: Pick<HostileRequest, 'headers' | 'body'> =
    type === undefined
      ? { headers: {} }
      : type === 'application/json'
        ? json(good)
        : { headers: { 'content-type': type }, body: Buffer.from('not a pack') }
  const target = (replaced: Record<string, string> = {}) =>
    path.replaceAll(/\{(\w+)\}/g, (_, name: string) => replaced[name] ?? encodeURIComponent(known[name] ?? 'x'))
  const verb = method.toUpperCase()

  for (const { name, in: place } of operation.parameters ?? []) {
    for (const [what, value] of Object.entries(strings)) {
      if (place === 'path' && value !== '')
        yield {
          name: of(`${what} as ${name} in the path`),
          method: verb,
          path: target({ [name]: encoded(value) }),
          ...sent,
        }
      if (place === 'query')
        yield {
          name: of(`${what} as ${name} in the query`),
          method: verb,
          path: `${target()}?${name}=${encoded(value)}`,
          ...sent,
        }
      const inHeader = value.replaceAll(/[^\x20-\x7e]/g, '')
      if (place === 'header')
        yield {
          name: of(`${what} as header ${name}`),
          method: verb,
          path: target(),
          ...sent,
          headers: { ...sent.headers, [name]: inHeader },
        }
    }
    if (place === 'path')
      for (const raw of ['%00', '%', '%zz', '%c0%ae%c0%ae', '..%2f..%2f', '%2e%2e', ';a=b'])
        yield { name: of(`${raw} as ${name} in the path`), method: verb, path: target({ [name]: raw }), ...sent }
    if (place === 'query')
      for (const raw of [
        `${name}=1&${name}=2`,
        `${name}[a]=b`,
        `${name}[]=1`,
        `${name}=%zz`,
        `__proto__[${name}]=1`,
        name,
      ])
        yield { name: of(`?${raw}`), method: verb, path: `${target()}?${raw}`, ...sent }
  }
  yield {
    name: of('a query of nobody'),
    method: verb,
    path: `${target()}?__proto__[polluted]=1&constructor.prototype.polluted=1&=&&%00=%00`,
    ...sent,
  }
  if (type !== undefined) {
    for (const [what, body] of Object.entries(bodies))
      yield {
        name: of(`${what} as body`),
        method: verb,
        path: target(),
        headers: { 'content-type': type },
        body: Buffer.from(body),
      }
    for (const wrong of [
      'text/plain',
      'application/xml',
      'multipart/form-data',
      'application/x-www-form-urlencoded',
      'application/json; charset=utf-16',
      'x',
      '__proto__/constructor',
    ])
      yield {
        name: of(`a body of type ${wrong}`),
        method: verb,
        path: target(),
        headers: { 'content-type': wrong },
        body: sent.body ?? Buffer.from('{}'),
      }
    yield { name: of('a body without a type'), method: verb, path: target(), headers: {}, body: Buffer.from('{"a":1}') }
    // A stream of objects has no end that is known before; of it, as much is read as comes.
    if (type === 'application/json')
      yield {
        name: of('a body that is announced larger than any'),
        method: verb,
        path: target(),
        headers: { 'content-type': type, 'content-length': String(2 ** 40) },
      }
  } else if (method !== 'get') {
    yield {
      name: of('a body where none belongs'),
      method: verb,
      path: target(),
      headers: { 'content-type': 'application/json' },
      body: Buffer.from('{"__proto__":{"polluted":true}}'),
    }
  }
  if (good === null || typeof good !== 'object') return
  const { properties } = content!.schema as { properties?: Record<string, Json> }
  for (const field of Object.keys(properties ?? {})) {
    for (const [what, value] of values)
      yield { name: of(`${what} as ${field}`), method: verb, path: target(), ...json({ ...good, [field]: value }) }
    for (const [index, value] of (texts[field] ?? []).entries())
      yield {
        name: of(`text ${index} as ${field}`),
        method: verb,
        path: target(),
        ...json({ ...good, [field]: value }),
      }
    const { properties: inner } = properties![field] as { properties?: Record<string, Json> }
    for (const below of Object.keys(inner ?? {}))
      for (const [what, value] of values)
        yield {
          name: of(`${what} as ${field}.${below}`),
          method: verb,
          path: target(),
          ...json({ ...good, [field]: { ...(good as Record<string, object>)[field], [below]: value } }),
        }
  }
}

/** A value that the schema takes, as far as its fields alone say. */
function sampleOf(schema: Json, document: OpenApiDocument): unknown {
  if (typeof schema.$ref === 'string')
    return sampleOf(document.components.schemas[schema.$ref.split('/').at(-1)!]!, document)
  if (schema.default !== undefined) return schema.default
  if (schema.const !== undefined) return schema.const
  if (Array.isArray(schema.enum)) return schema.enum[0] as unknown
  const either = (schema.anyOf ?? schema.oneOf) as Json[] | undefined
  if (either) return sampleOf(either[0]!, document)
  if (schema.type === 'object')
    return Object.fromEntries(
      ((schema.required ?? []) as string[]).map((name) => [
        name,
        sampleOf((schema.properties as Record<string, Json>)[name]!, document),
      ]),
    )
  if (schema.type === 'array') return []
  if (schema.type === 'number' || schema.type === 'integer') return Math.max(1, Number(schema.minimum ?? 1))
  if (schema.type === 'boolean') return false
  return 'x'.repeat(Math.max(1, Number(schema.minLength ?? 1)))
}

function encoded(value: string): string {
  // A half character has no UTF-8 of its own.
  return value.isWellFormed() ? encodeURIComponent(value) : '%ED%A0%80'
}

export interface HostileAnswer {
  status: number
  type: string
  text: string
}

const agent = new Agent({ keepAlive: true, maxSockets: 8 })

/** Sends it as it is. Of an answer that goes on, what came within `patience` milliseconds is enough. */
export function send(
  url: string,
  { method, path, headers, body }: HostileRequest,
  patience = 1_500,
): Promise<HostileAnswer> {
  return new Promise((resolve, reject) => {
    const announced = headers['content-length'] !== undefined
    const request = ask(url, {
      agent: announced ? false : agent,
      method,
      path,
      headers: { ...headers, ...(announced ? {} : { 'content-length': String(body?.length ?? 0) }) },
    })
    request.setTimeout(20_000, () => request.destroy(new Error('no answer within 20 s')))
    request.on('error', (error: Error) => reject(new Error(`${method} ${path.slice(0, 200)}: ${error.message}`)))
    request.on('response', (response) => {
      let text = ''
      const done = () => {
        clearTimeout(timer)
        resolve({ status: response.statusCode!, type: String(response.headers['content-type'] ?? ''), text })
      }
      const timer = setTimeout(() => (done(), request.destroy()), patience)
      response
        .setEncoding('utf8')
        .on('data', (chunk: string) => (text += chunk))
        .on('end', done)
        .on('error', done)
      if (announced) (done(), request.destroy())
    })
    if (announced) request.flushHeaders()
    else request.end(body)
  })
}

/** Ends the connections that were kept. */
export function endSending(): void {
  agent.destroy()
}
