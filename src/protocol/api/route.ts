import * as z from 'zod'
import type { Access } from './access.ts'

/** One operation of the API: what it takes and gives. Server, client and OpenAPI are all made from these. */
export interface Route {
  method: 'GET' | 'POST' | 'PUT' | 'DELETE'
  /** With `:name` for parameters. */
  path: string
  summary: string
  /** What it asks of its caller, on what its path names (subjectOf). What names nothing asks for the right everywhere, but see `reach`. */
  access: Access
  /** `some`: the right somewhere is enough; the handler answers, or touches, only what the caller may. */
  reach?: 'some'
  /** Whether the audit log says who called it. By default everything does that may change something: all but GET. `changes`: only where something did. */
  audited?: boolean | 'changes'
  params?: z.ZodType
  query?: z.ZodType
  body?: z.ZodType
  response: z.ZodType
  /** `events`: answers a stream of server-sent events whose data has the schema `response`. `pack`: takes a binary body. `text`: answers text in pieces. `bytes`: takes a body of any type, and looks at its bytes before anything reads it. */
  stream?: 'events' | 'pack' | 'text' | 'bytes'
  /** Takes an `Idempotency-Key`: sent again with it, the call does nothing more and is answered as before. */
  idempotent?: boolean
  /** Answers an ETag, and 304 to who has it already. */
  etag?: boolean
}

/** Which part of a list: at most `limit`, after what `next` of the answer before stands for. */
export function pageOf(limit: { most: number; usual: number }) {
  return {
    limit: z.coerce.number().int().min(1).max(limit.most).default(limit.usual),
    cursor: z.string().min(1).max(300).optional(),
  }
}
/** What to give as `cursor` for what follows; null: nothing does. */
export const nextSchema = z.string().nullable().default(null)
