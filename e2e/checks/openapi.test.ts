import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { test } from 'node:test'
import { version } from '../../src/protocol/product-version.ts'
import { routes } from '../../src/protocol/api/contract.ts'
import { openApiDocument, type OpenApiDocument, type OpenApiOperation } from '../../src/protocol/api/openapi.ts'
import type { Route } from '../../src/protocol/api/route.ts'

const document = openApiDocument(version())
const operations = Object.entries(document.paths).flatMap(([path, methods]) =>
  Object.entries(methods).map(([method, operation]) => ({ path, method, operation })),
)

test('docs/openapi.json is what the contract says', () => {
  const committed = JSON.parse(
    readFileSync(new URL('../../docs/openapi.json', import.meta.url), 'utf8'),
  ) as OpenApiDocument
  assert.deepEqual(
    committed,
    JSON.parse(JSON.stringify(document)),
    'run: node_modules/.bin/node src/protocol/api/write-openapi.ts',
  )
})

test('every route of the contract is in the document, once', () => {
  assert.deepEqual(operations.map(({ operation }) => operation.operationId).sort(), Object.keys(routes).sort())
  for (const [name, route] of Object.entries(routes) as [string, Route][]) {
    const operation = document.paths[route.path.replaceAll(/:(\w+)/g, '{$1}')]?.[route.method.toLowerCase()]
    assert.equal(operation?.operationId, name)
  }
})

test('every reference within the document leads somewhere', () => {
  const references = [...JSON.stringify(document).matchAll(/"\$ref":"([^"]+)"/g)].map(([, reference]) => reference!)
  assert.ok(references.length > 50)
  for (const reference of new Set(references)) {
    const found = reference
      .split('/')
      .slice(1)
      .reduce<unknown>((at, key) => (at as Record<string, unknown> | undefined)?.[key], document)
    assert.ok(reference.startsWith('#/components/') && found !== undefined, `${reference} leads nowhere`)
  }
})

test('every operation holds what OpenAPI 3.1 asks of it', () => {
  assert.match(document.openapi, /^3\.1\.\d+$/)
  assert.ok(document.info.title && document.info.version)
  const tags = new Set(document.tags.map(({ name }) => name))
  for (const { path, method, operation } of operations) {
    const at = `${method} ${path}`
    assert.ok(operation.summary, at)
    assert.ok(
      operation.tags.every((tag) => tags.has(tag)),
      `${at} has a tag that is not described`,
    )
    const inPath = [...path.matchAll(/\{(\w+)\}/g)].map(([, name]) => name!)
    const parameters = operation.parameters ?? []
    assert.deepEqual(
      parameters
        .filter((one) => one.in === 'path')
        .map(({ name }) => name)
        .sort(),
      inPath.sort(),
      `${at}: parameters of the path`,
    )
    assert.ok(
      parameters.every((one) => one.in !== 'path' || one.required),
      `${at}: a parameter of the path is required`,
    )
    assert.equal(
      new Set(parameters.map((one) => `${one.in} ${one.name}`)).size,
      parameters.length,
      `${at} has a parameter twice`,
    )
    assert.ok(operation.responses['200'] && operation.responses['default'], `${at} says what it answers`)
    for (const scheme of operation.security.flatMap((one) => Object.keys(one)))
      assert.ok(scheme in document.components.securitySchemes, `${at}: ${scheme}`)
    if (method === 'get' || method === 'delete') assert.equal(operation.requestBody, undefined, `${at} has a body`)
  }
})

test('the examples are taken by the schemas that they stand for', () => {
  for (const [name, route] of Object.entries(routes) as [string, Route][]) {
    const operation: OpenApiOperation =
      document.paths[route.path.replaceAll(/:(\w+)/g, '{$1}')]![route.method.toLowerCase()]!
    const body = operation.requestBody?.content['application/json']
    if (body?.example !== undefined)
      assert.ok(route.body!.safeParse(body.example).success, `${name}: ${JSON.stringify(body.example)}`)
    const answer = (operation.responses['200'] as { content: Record<string, { example?: unknown }> }).content[
      'application/json'
    ]
    if (answer?.example !== undefined)
      assert.ok(route.response.safeParse(answer.example).success, `${name}: ${JSON.stringify(answer.example)}`)
  }
})
