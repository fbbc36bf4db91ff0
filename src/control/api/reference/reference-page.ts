import type { OpenApiDocument, OpenApiOperation } from '../../../protocol/api/openapi.ts'

/** The API's reference for people: one page, made from the OpenAPI document. No script, no inline style. */

type Json = Record<string, unknown>

/** The whole page. */
export function referencePage(document: OpenApiDocument): string {
  const parts = document.tags.map((tag) => ({
    ...tag,
    operations: Object.entries(document.paths).flatMap(([path, methods]) =>
      Object.entries(methods)
        .filter(([, operation]) => operation.tags.includes(tag.name))
        .map(([method, operation]) => ({ path, method, operation })),
    ),
  }))
  return `<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>The API of dploy</title>
<link rel="icon" href="/icon.svg">
<link rel="stylesheet" href="/api/reference.css">
</head>
<body>
<nav aria-label="Contents">
<a href="/">dploy</a>
${parts.map(({ name, operations }) => `<h2 id="of-${slug(name)}">${capital(name)}</h2>\n<ul aria-labelledby="of-${slug(name)}">${operations.map(({ operation }) => `<li><a href="#${operation.operationId}">${operation.operationId}</a></li>`).join('')}</ul>`).join('\n')}
<h2 id="of-schemas">Schemas</h2>
<ul aria-labelledby="of-schemas">${Object.keys(document.components.schemas)
    .map((name) => `<li><a href="#schema-${name}">${name}</a></li>`)
    .join('')}</ul>
</nav>
<main>
<header>
<h1>The API of dploy</h1>
<p class="quiet">Version ${text(document.info.version)}. For programs: <a href="/api/v1/openapi.json">openapi.json</a> (OpenAPI ${document.openapi}).</p>
${document.info.description
  .split('\n\n')
  .map((paragraph) => `<p>${prose(paragraph)}</p>`)
  .join('\n')}
</header>
${parts.map(({ name, description, operations }) => `<section aria-labelledby="part-${slug(name)}">\n<h2 id="part-${slug(name)}">${text(name)}</h2>\n<p class="quiet">${text(description)}</p>\n${operations.map(({ path, method, operation }) => operationOf(path, method, operation)).join('\n')}\n</section>`).join('\n')}
<section aria-labelledby="part-schemas">
<h2 id="part-schemas">schemas</h2>
${Object.entries(document.components.schemas)
  .map(
    ([name, schema]) =>
      `<article id="schema-${name}"><header><h3>${name}</h3></header><div class="body">${schemaOf(schema, `Fields of ${name}`)}</div></article>`,
  )
  .join('\n')}
</section>
</main>
</body>
</html>
`
}

function operationOf(path: string, method: string, operation: OpenApiOperation): string {
  const body = Object.entries(operation.requestBody?.content ?? {})[0]
  const answer = Object.entries(
    (operation.responses['200'] as { content: Record<string, { schema: Json; example?: unknown }> }).content,
  )[0]!
  const { description } = operation.responses['200'] as { description: string }
  return `<article id="${operation.operationId}">
<header><h3>${text(operation.summary)}</h3><p class="call"><span class="method ${method}">${method.toUpperCase()}</span> ${text(path)}</p></header>
<div class="body">
<p>${prose(operation.description ?? '')}</p>
${parametersOf(operation)}
${body ? `<h4>Body: <code>${body[0]}</code></h4>${schemaOf(body[1].schema, `Body of ${operation.operationId}`)}` : ''}
<h4>Answer: <code>${answer[0]}</code></h4>${description === 'Done' ? '' : `<p>${prose(description)}</p>`}${schemaOf(answer[1].schema, `Answer of ${operation.operationId}`)}
<details><summary>With curl</summary><pre tabindex="0"><code>${text(curl(path, method, operation))}</code></pre></details>
</div>
</article>`
}

function parametersOf({ operationId, parameters = [] }: OpenApiOperation): string {
  if (parameters.length === 0) return ''
  const rows = parameters.map(
    (one) =>
      `<tr><td><code>${one.name}</code></td><td>${one.in}${one.required ? '' : ', optional'}</td><td>${typeOf(one.schema)}</td><td>${text(one.description ?? '')}</td></tr>`,
  )
  return `<h4>Parameters</h4><div class="wide" tabindex="0" role="region" aria-label="Parameters of ${operationId}"><table><tr><th>Name</th><th>In</th><th>Type</th><th>What it is</th></tr>${rows.join('')}</table></div>`
}

/** `label`: what screen readers call it. */
function schemaOf(schema: Json, label: string): string {
  const { properties, required } = schema as { properties?: Record<string, Json>; required?: string[] }
  if (!properties || Object.keys(properties).length === 0) return `<p>${typeOf(schema)}</p>`
  const rows = Object.entries(properties).map(
    ([name, one]) =>
      `<tr><td><code>${text(name)}</code></td><td>${typeOf(one)}${(required ?? []).includes(name) ? '' : '<span class="quiet">, optional</span>'}</td></tr>`,
  )
  return `<div class="wide" tabindex="0" role="region" aria-label="${label}"><table><tr><th>Field</th><th>Type</th></tr>${rows.join('')}</table></div>`
}

/** A schema in a few words. */
function typeOf(schema: Json): string {
  if (typeof schema.$ref === 'string') {
    const name = schema.$ref.split('/').at(-1)!
    return `<a href="#schema-${name}">${name}</a>`
  }
  const either = (schema.anyOf ?? schema.oneOf) as Json[] | undefined
  if (either) return either.map(typeOf).join(' or ')
  if (schema.const !== undefined) return `<code>${text(JSON.stringify(schema.const))}</code>`
  if (Array.isArray(schema.enum))
    return schema.enum.map((one) => `<code>${text(JSON.stringify(one))}</code>`).join(', ')
  if (schema.type === 'array')
    return `list of ${schema.items === undefined ? 'anything' : typeOf(schema.items as Json)}`
  if (schema.type === 'object') {
    const { properties, additionalProperties } = schema as {
      properties?: Record<string, Json>
      additionalProperties?: Json
    }
    if (properties)
      return Object.keys(properties).length === 0
        ? 'an empty object'
        : `{ ${Object.entries(properties)
            .map(([name, one]) => `<code>${text(name)}</code>: ${typeOf(one)}`)
            .join(', ')} }`
    return additionalProperties && typeof additionalProperties === 'object'
      ? `object of ${typeOf(additionalProperties)}`
      : 'object'
  }
  const limits = [
    ...(schema.minimum !== undefined && Math.abs(schema.minimum as number) < 2 ** 50
      ? [`from ${String(schema.minimum)}`]
      : []),
    ...(schema.maximum !== undefined && (schema.maximum as number) < 2 ** 50 ? [`to ${String(schema.maximum)}`] : []),
    ...(schema.maxLength !== undefined ? [`at most ${String(schema.maxLength)} characters`] : []),
    ...(schema.default !== undefined ? [`by default <code>${text(JSON.stringify(schema.default))}</code>`] : []),
  ]
  const type = Array.isArray(schema.type)
    ? schema.type.join(' or ')
    : ((schema.type as string | undefined) ?? 'anything')
  return `${text(type)}${limits.length > 0 ? ` <span class="quiet">${limits.join(', ')}</span>` : ''}`
}

function curl(path: string, method: string, operation: OpenApiOperation): string {
  const body = Object.entries(operation.requestBody?.content ?? {})[0]
  const query = (operation.parameters ?? [])
    .filter((one) => one.in === 'query' && one.required)
    .map((one) => `${one.name}=…`)
    .join('&')
  const example = body?.[1].example
  return [
    `curl${method === 'get' ? '' : ` -X ${method.toUpperCase()}`}${operation.responses['200']!.content !== undefined && 'text/event-stream' in (operation.responses['200']!.content as Json) ? ' -N' : ''}`,
    ...(operation['x-dploy-access'] === 'open' ? [] : ['-H "Authorization: Bearer $DPLOY_TOKEN"']),
    ...(body
      ? [
          `-H 'Content-Type: ${body[0]}'`,
          body[0] === 'application/json'
            ? `-d '${JSON.stringify(example ?? {}).replaceAll("'", "'\\''")}'`
            : '--data-binary @FILE',
        ]
      : []),
    `"$DPLOY_URL${path.replaceAll(/\{(\w+)\}/g, (_, name: string) => name.toUpperCase())}${query === '' ? '' : `?${query}`}"`,
  ].join(' \\\n  ')
}

/** Text with `code` in it. */
function prose(words: string): string {
  return text(words).replaceAll(/`([^`]+)`/g, '<code>$1</code>')
}

function text(words: string): string {
  return words.replaceAll('&', '&amp;').replaceAll('<', '&lt;').replaceAll('>', '&gt;').replaceAll('"', '&quot;')
}

const slug = (name: string): string => name.replaceAll(/\W+/g, '-')
const capital = (name: string): string => text(name.charAt(0).toUpperCase() + name.slice(1))
