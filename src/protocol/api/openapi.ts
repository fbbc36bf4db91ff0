import * as z from 'zod'
import * as deployment from '../deployment.ts'
import * as peer from '../peer.ts'
import * as releaseSpec from '../release-spec.ts'
import { errorTable } from '../errors.ts'
import * as access from './access.ts'
import * as audit from './audit.ts'
import * as commands from './commands.ts'
import { problemSchema, routes } from './contract.ts'
import * as deployments from './deployments.ts'
import * as doctor from './doctor.ts'
import * as environments from './environments.ts'
import { operationExamples, operationNotes } from './openapi-examples.ts'
import * as people from './people.ts'
import type { Route } from './route.ts'
import * as secrets from './secrets.ts'
import * as servers from './servers.ts'
import * as session from './session.ts'
import * as tokens from './tokens.ts'
import * as webhooks from './webhooks.ts'

/** The OpenAPI document of the HTTP API (spec.openapis.org/oas/v3.1), made from the contract that server and client use. */

type Json = Record<string, unknown>

export interface OpenApiParameter {
  name: string
  in: 'path' | 'query' | 'header'
  required: boolean
  description?: string
  schema: Json
}
export interface OpenApiOperation {
  operationId: string
  tags: string[]
  summary: string
  description?: string
  security: Json[]
  parameters?: OpenApiParameter[]
  requestBody?: { required: boolean; content: Record<string, { schema: Json; example?: unknown }> }
  responses: Record<string, Json>
  'x-dploy-access': string
}
export interface OpenApiDocument {
  openapi: string
  info: Json & { title: string; version: string; description: string }
  servers: { url: string; description?: string }[]
  tags: { name: string; description: string }[]
  paths: Record<string, Record<string, OpenApiOperation>>
  components: { schemas: Record<string, Json>; responses: Record<string, Json>; securitySchemes: Record<string, Json> }
}

/** Parts of the API, in the order in which they are read. */
const parts: [name: string, description: string, module: Record<string, unknown>][] = [
  ['environments', 'What runs where, and what puts something else there', environments],
  ['deployments', 'What was deployed, how it goes, and what it measured', deployments],
  ['servers', 'Machines that releases are put on', servers],
  ['commands', "A person's own commands and files on servers", commands],
  ['secrets', 'Written, never read', secrets],
  ['doctor', 'What would go wrong', doctor],
  ['session', 'Signing in', session],
  ['people', 'Who can sign in, and what they may do', people],
  ['tokens', 'Tokens for programs', tokens],
  ['webhooks', 'Deploying what is pushed', webhooks],
  ['audit', 'Who changed what', audit],
]
const rest = { name: 'control plane', description: 'The control plane itself, and what clients bring to it' }

/** Schemas that stand under their own name, by what they are exported as. */
function named(): z.core.$ZodRegistry<{ id?: string }> {
  const registry = z.registry<{ id?: string }>()
  for (const module of [access, deployment, peer, releaseSpec, ...parts.map(([, , module]) => module)]) {
    for (const [key, value] of Object.entries(module)) {
      if (!key.endsWith('Schema') || !(value instanceof z.ZodType) || registry.has(value)) continue
      // Only what has fields or choices is worth a name.
      if (value instanceof z.ZodObject || value instanceof z.ZodUnion || value instanceof z.ZodEnum)
        registry.add(value, { id: key.charAt(0).toUpperCase() + key.slice(1, -'Schema'.length) })
    }
  }
  registry.add(problemSchema, { id: 'Problem' })
  return registry
}

/** Makes the document; `version` is the program's. The same contract gives the same text. */
export function openApiDocument(version: string): OpenApiDocument {
  const schemas: Record<string, Json> = {}
  const registry = named()
  /** An answer's schema: what it names goes to the components, and more fields may come to it. */
  const answer = (schema: z.ZodType): Json => {
    const {
      $schema: _,
      $defs,
      ...made
    } = z.toJSONSchema(schema, {
      io: 'output',
      unrepresentable: 'any',
      metadata: registry as never,
      reused: 'inline',
      override: ({ jsonSchema }) =>
        void (jsonSchema.additionalProperties === false && delete jsonSchema.additionalProperties),
    }) as Json & { $defs?: Record<string, Json> }
    for (const [id, definition] of Object.entries($defs ?? {})) schemas[id] ??= relocated(definition)
    const id = registry.get(schema)?.id
    if (id === undefined) return relocated(made)
    schemas[id] ??= relocated(made)
    return { $ref: `#/components/schemas/${id}` }
  }
  const problem = { 'application/problem+json': { schema: answer(problemSchema) } }
  const paths: OpenApiDocument['paths'] = {}
  for (const [name, route] of Object.entries(routes) as [string, Route][]) {
    const path = route.path.replaceAll(/:(\w+)/g, '{$1}')
    const operation = operationOf(name, route, answer(route.response))
    ;(paths[path] ??= {})[route.method.toLowerCase()] = operation
  }
  return {
    openapi: '3.1.0',
    info: {
      title: 'dploy',
      version,
      summary: 'Deploys code to many servers in seconds, without downtime, and proves it',
      description: [
        'Everything that the pages and the command line do goes through these calls.',
        "Over TCP a caller sends `Authorization: Bearer TOKEN` (`dploy token create`), or the cookie of a session; over the unix socket of the control plane, this machine's user needs neither.",
        'Times are epoch milliseconds. Answers may get more fields: ignore those that you do not know. Every error is `application/problem+json` (RFC 9457) with a stable `code`, what happened, and what to do next: see docs/errors.md.',
        'Lists answer `next`, which is given back as `cursor` for what follows, and is null at the end. What starts work takes an `Idempotency-Key`.',
      ].join('\n\n'),
      license: { name: 'MIT', identifier: 'MIT' },
    },
    servers: [{ url: '/', description: 'The control plane that serves this' }],
    tags: [...parts.map(([name, description]) => ({ name, description })), rest],
    paths,
    components: {
      schemas: Object.fromEntries(Object.entries(schemas).sort(([a], [b]) => (a < b ? -1 : 1))),
      responses: {
        problem: {
          description: `An error, with one of these codes: ${Object.keys(errorTable)
            .map((code) => `\`${code}\``)
            .join(', ')}`,
          content: problem,
        },
      },
      securitySchemes: {
        token: { type: 'http', scheme: 'bearer', description: 'A token that dploy token create printed' },
        session: {
          type: 'apiKey',
          in: 'cookie',
          name: 'dploy',
          description:
            'The cookie that signing in sets, over https under the name `__Host-dploy`; requests that change something must come from the same site',
        },
      },
    },
  }
}

function operationOf(name: string, route: Route, response: Json): OpenApiOperation {
  const group = parts.find(([, , module]) =>
    Object.values(module).some(
      (value) => typeof value === 'object' && value !== null && (value as Record<string, unknown>)[name] === route,
    ),
  )
  const open = route.access === 'open'
  const note = operationNotes[name]
  const parameters = [...parametersIn('path', route.params), ...parametersIn('query', route.query), ...headersOf(route)]
  return {
    operationId: name,
    tags: [group?.[0] ?? rest.name],
    summary: route.summary,
    description: [accessText(route), ...(note === undefined ? [] : [note])].join(' '),
    security: open ? [{}] : [{ token: [] }, { session: [] }],
    ...(parameters.length > 0 ? { parameters } : {}),
    ...bodyOf(name, route),
    responses: {
      200: {
        description:
          route.stream === 'events'
            ? 'Server-sent events; the data of each is JSON of this schema. `event: end` follows the last, `event: problem` stands for an error on the way'
            : 'Done',
        ...(route.etag ? { headers: { ETag: { schema: { type: 'string' } } } } : {}),
        content: contentOf(name, route, response),
      },
      ...(route.etag ? { 304: { description: 'It is as it was: the If-None-Match of the request holds' } } : {}),
      default: { $ref: '#/components/responses/problem' },
    },
    'x-dploy-access': route.access,
  }
}

function contentOf(name: string, route: Route, schema: Json): Json {
  if (route.stream === 'events') return { 'text/event-stream': { schema } }
  if (name === 'badge') return { 'image/svg+xml': { schema: { type: 'string' } } }
  if (route.stream === 'text')
    return { [name === 'exportAudit' ? 'application/x-ndjson' : 'text/plain']: { schema: { type: 'string' } } }
  const example = operationExamples[name]?.response
  return { 'application/json': { schema, ...(example === undefined ? {} : { example }) } }
}

function bodyOf(name: string, route: Route): Pick<OpenApiOperation, 'requestBody'> {
  if (route.stream === 'pack')
    return {
      requestBody: {
        required: true,
        content: { [name === 'uploadObjects' ? 'application/zstd' : 'application/octet-stream']: { schema: {} } },
      },
    }
  if (route.stream === 'bytes')
    return { requestBody: { required: true, content: { 'application/json': { schema: {} } } } }
  if (!route.body) return {}
  const example = operationExamples[name]?.body
  return {
    requestBody: {
      required: true,
      content: { 'application/json': { schema: taken(route.body), ...(example === undefined ? {} : { example }) } },
    },
  }
}

function parametersIn(place: 'path' | 'query', schema: z.ZodType | undefined): OpenApiParameter[] {
  if (!schema) return []
  const { properties, required } = taken(schema) as {
    properties?: Record<string, Json & { description?: string }>
    required?: string[]
  }
  return Object.entries(properties ?? {}).map(([name, { description, ...property }]) => ({
    name,
    in: place,
    required: place === 'path' || (required ?? []).includes(name),
    ...(description === undefined ? {} : { description }),
    schema: property,
  }))
}

function headersOf(route: Route): OpenApiParameter[] {
  return [
    ...(route.idempotent
      ? [
          {
            name: 'Idempotency-Key',
            in: 'header' as const,
            required: false,
            description:
              'Sent again with the same key within a day, the request starts nothing more and gets the first answer',
            schema: { type: 'string', minLength: 1, maxLength: 200 },
          },
        ]
      : []),
    ...(route.etag
      ? [
          {
            name: 'If-None-Match',
            in: 'header' as const,
            required: false,
            description: 'The ETag of the answer that the caller has',
            schema: { type: 'string' },
          },
        ]
      : []),
    ...(route.stream === 'events' && route.method === 'GET' && route.path.endsWith('/events')
      ? [
          {
            name: 'Last-Event-ID',
            in: 'header' as const,
            required: false,
            description: 'The id of the last event that came: the stream goes on after it',
            schema: { type: 'integer', minimum: 0 },
          },
        ]
      : []),
  ]
}

/** What is taken from outside: as a caller writes it. */
function taken(schema: z.ZodType): Json {
  const { $schema: _, ...made } = z.toJSONSchema(schema, {
    io: 'input',
    unrepresentable: 'any',
    reused: 'inline',
  }) as Json
  return relocated(made)
}

/** References as they are within an OpenAPI document. */
function relocated(schema: Json): Json {
  return JSON.parse(
    JSON.stringify(schema, (key, value: unknown) =>
      key === 'id' && typeof value === 'string' ? undefined : value,
    ).replaceAll('"#/$defs/', '"#/components/schemas/'),
  ) as Json
}

function accessText(route: Route): string {
  if (route.access === 'open') return 'For everybody.'
  if (route.access === 'known') return 'For who is signed in.'
  if (route.access === 'own') return "For who is signed in, on one's own things."
  const subject = access.subjectOf(route.path)
  return `Needs the right to ${route.access}${route.reach === 'some' ? ' somewhere; the answer holds what the caller may see' : subject === 'everything' ? ' everywhere' : ` ${subject === 'server' ? 'in the environments of the server' : 'in the environment'}`}.`
}
