import type * as z from 'zod'

/** One operation of the API: what it takes and gives. Server, client and OpenAPI are all made from these. */
export interface Route {
  method: 'GET' | 'POST' | 'PUT' | 'DELETE'
  /** With `:name` for parameters. */
  path: string
  summary: string
  params?: z.ZodType
  query?: z.ZodType
  body?: z.ZodType
  response: z.ZodType
  /** `events`: answers a stream of server-sent events whose data has the schema `response`. `pack`: takes a binary body. */
  stream?: 'events' | 'pack'
}
