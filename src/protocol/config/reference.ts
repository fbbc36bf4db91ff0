import { stringify } from 'yaml'
import { configJsonSchema, inWords, orList, type JsonSchema } from './schema.ts'

/** The reference of dploy.yml (Markdown): every key with its type, default, meaning and example, made from its schema. */
export function configReference(): string {
  const sections: string[] = []
  addSection(sections, 'The file', null, configJsonSchema())
  return `${introduction}\n${sections.join('\n')}`
}

const introduction = `# dploy.yml

One file describes one application: how it is built, how it runs, where it goes. \`dploy init\` writes one for what stands in a
directory; [dploy.example.yml](dploy.example.yml) uses every key. Only \`application\` and \`environments\` have to be there.

The file is YAML 1.2. Anchors, aliases and \`<<\` work. A duration is written \`250ms\`, \`10s\`, \`5m\`, \`1h\`; a bare number is seconds.
Whatever is wrong is told with line and column, all at once, before anything happens: \`dploy plan\`.

Editors that know the YAML language server complete and check it with this as the first line, given the path of the schema:
\`# yaml-language-server: $schema=.dploy/dploy.schema.json\`, which \`dploy init\` writes. dploy puts the schema there whenever it reads the file.

This page and [dploy.schema.json](dploy.schema.json) are made from the schema that validates the file; do not edit them.
`

function addSection(sections: string[], title: string, path: string | null, schema: JsonSchema): void {
  const properties = Object.entries(schema.properties ?? {})
  const heading =
    path === null
      ? `## ${title}`
      : `${'#'.repeat(Math.min(4, 1 + path.replace('.NAME', '').split('.').length))} ${title}`
  const rows = properties.map(([key, property]) => row(key, property, schema.required?.includes(key) ?? false, path))
  sections.push(
    `${heading}\n\n${schema.description === undefined || path === null ? '' : `${schema.description}\n\n`}| key | type | default | meaning | example |\n|---|---|---|---|---|\n${rows.join('\n')}\n`,
  )
  for (const [key, property] of properties) addInner(sections, path === null ? key : `${path}.${key}`, property)
}

/** The sections of the mappings that stand below a key, in a list or in a union too. */
function addInner(sections: string[], path: string, schema: JsonSchema): void {
  const mappings = mappingsOf(schema)
  for (const { mapping, suffix } of mappings) {
    const kind = mapping.properties?.['kind']?.const
    const title = `\`${path}${suffix}\`${mappings.length > 1 && kind !== undefined ? ` of kind ${kind}` : ''}`
    addSection(sections, title, path + suffix, {
      ...mapping,
      description: mapping.description ?? schema.description ?? '',
    })
  }
}

function mappingsOf(schema: JsonSchema): { mapping: JsonSchema; suffix: string }[] {
  if (schema.properties !== undefined) return [{ mapping: schema, suffix: '' }]
  if (typeof schema.additionalProperties === 'object')
    return mappingsOf(schema.additionalProperties).map(({ mapping, suffix }) => ({ mapping, suffix: `.NAME${suffix}` }))
  if (schema.items !== undefined)
    return mappingsOf(schema.items).map(({ mapping, suffix }) => ({ mapping, suffix: `[]${suffix}` }))
  return (schema.anyOf ?? schema.oneOf ?? []).flatMap(mappingsOf)
}

function row(key: string, schema: JsonSchema, required: boolean, path: string | null): string {
  const mappings = mappingsOf(schema)
  const anchor =
    mappings[0] === undefined
      ? null
      : `#${anchorOf(`${path === null ? '' : `${path}.`}${key}${mappings[0].suffix}`, mappings)}`
  const example = exampleOf(schema)
  const byDefault = required
    ? 'required'
    : schema.default === undefined || isEmpty(schema.default)
      ? ''
      : code(inFlow(schema.default))
  const cells = [
    anchor === null ? code(key) : `[${code(key)}](${anchor})`,
    typeOf(schema),
    byDefault,
    schema.description ?? '',
    example === undefined ? '' : code(`${key}: ${inFlow(example)}`),
  ]
  return `| ${cells.map((cell) => cell.replaceAll('|', '\\|')).join(' | ')} |`
}

/** As GitHub makes them of headings. */
function anchorOf(path: string, mappings: { mapping: JsonSchema }[]): string {
  const kind = mappings[0]?.mapping.properties?.['kind']?.const
  return `${path}${mappings.length > 1 && kind !== undefined ? ` of kind ${kind}` : ''}`
    .toLowerCase()
    .replace(/[^a-z0-9_ -]/g, '')
    .replaceAll(' ', '-')
}

function typeOf(schema: JsonSchema): string {
  if (schema.properties !== undefined) return 'a mapping'
  if (schema.title === undefined) {
    const branches = schema.anyOf ?? schema.oneOf
    if (branches !== undefined) return orList([...new Set(branches.map(typeOf))])
    if (schema.type === 'array' && schema.items !== undefined) return `a list, each entry ${typeOf(schema.items)}`
  }
  return inWords(schema)
}

function exampleOf(schema: JsonSchema): unknown {
  if (schema.examples !== undefined) return schema.examples[0]
  if (schema.const !== undefined) return schema.const
  if (schema.enum !== undefined) return schema.enum.find((one) => one !== schema.default) ?? schema.enum[0]
  return schema.default === undefined || isEmpty(schema.default) ? undefined : schema.default
}

function isEmpty(value: unknown): boolean {
  return typeof value === 'object' && value !== null && Object.keys(value).length === 0
}

function inFlow(value: unknown): string {
  return stringify(value, { collectionStyle: 'flow', lineWidth: 0 }).trim()
}

function code(text: string): string {
  return `\`${text}\``
}
