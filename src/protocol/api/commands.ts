import * as z from 'zod'
import { fileNameSchema, filePathSchema, personCommandSchema, terminalSizeSchema } from '../command-messages.ts'
import { digestPattern } from '../manifest.ts'
import { errorReportSchema } from '../peer.ts'
import { nextSchema, pageOf, type Route } from './route.ts'

/** A person's own command on servers: what the API takes and gives. */

const place = z.object({ application: z.string().min(1), environment: z.string().min(1) })
const serverName = z.string().min(1).max(63)

/** Which servers of the environment: those named, with all of the tags; by default all. */
export const selectionSchema = z.strictObject({
  servers: z.array(serverName).max(10_000).default([]),
  tags: z.record(z.string().max(63), z.string().max(1_000)).default({}),
})

const execBody = z.strictObject({
  command: personCommandSchema,
  on: selectionSchema.prefault({}),
  /** So many servers at a time; after a batch in which one failed, the rest is not begun. Null: all at once. */
  batch: z.number().int().min(1).nullable().default(null),
  /** Milliseconds that each server has. */
  timeout: z
    .number()
    .positive()
    .max(2 ** 31 - 1)
    .nullable()
    .default(null),
  user: z.string().min(1).max(33).optional(),
  sudo: z.boolean().default(false),
  requestedBy: z.string().max(200).optional(),
})

/** What came of the command on one server. Exactly one of `code`, `signal` and `problem` is set, or none if it was not begun. */
export const commandOutcomeSchema = z.object({
  server: z.string(),
  code: z.number().nullable(),
  signal: z.string().nullable(),
  ms: z.number().nullable(),
  problem: errorReportSchema.nullable(),
})
export type CommandOutcome = z.infer<typeof commandOutcomeSchema>

const outputOf = { kind: z.literal('output'), server: z.string(), stream: z.enum(['stdout', 'stderr']) }
export const execEventSchema = z.union([
  z.object({ kind: z.literal('started'), run: z.string(), servers: z.array(z.string()) }),
  /** Bytes as they came: as text where they are UTF-8 (never cut within a character), else in base64. */
  z.object({ ...outputOf, text: z.string() }),
  z.object({ ...outputOf, base64: z.string() }),
  z.object({ kind: z.literal('ended'), outcome: commandOutcomeSchema }),
])
export type ExecEvent = z.infer<typeof execEventSchema>

/** A file's bytes as they come from a server, and at its end what it is. */
export const copyEventSchema = z.union([
  z.object({ kind: z.literal('started'), run: z.string(), servers: z.array(z.string()) }),
  z.object({ kind: z.literal('data'), server: z.string(), size: z.number(), base64: z.string() }),
  z.object({
    kind: z.literal('ended'),
    outcome: commandOutcomeSchema,
    file: z.object({ size: z.number(), mode: z.number(), digest: z.string() }).nullable(),
  }),
])
export type CopyEvent = z.infer<typeof copyEventSchema>

const serverList = z
  .union([serverName, z.array(serverName)])
  .default([])
  .transform((value) => (typeof value === 'string' ? [value] : value))

export const runSchema = z.object({
  id: z.string(),
  kind: z.enum(['exec', 'shell', 'copy']),
  application: z.string(),
  environment: z.string(),
  requestedBy: z.string(),
  /** What was run, as a person would type it. */
  command: z.string(),
  startedAt: z.number(),
  /** Null: it runs, or the control plane was ended in the middle. */
  finishedAt: z.number().nullable(),
  outcomes: z.array(commandOutcomeSchema),
})
export type RunSummary = z.infer<typeof runSchema>

const shellBody = terminalSizeSchema.extend({
  /** The kind of terminal, for TERM. */
  kind: z
    .string()
    .regex(/^[A-Za-z0-9._+-]{1,60}$/)
    .default('xterm-256color'),
  user: z.string().min(1).max(33).optional(),
  sudo: z.boolean().default(false),
  requestedBy: z.string().max(200).optional(),
})

const byRun = z.object({ run: z.string().min(1).max(100) })

export const commandRoutes = {
  exec: {
    method: 'POST',
    path: '/api/v1/environments/:application/:environment/exec',
    summary: 'Run a command on servers; answers what it prints; ends everywhere when the caller goes away',
    access: 'administer',
    idempotent: true,
    params: place,
    body: execBody,
    response: execEventSchema,
    stream: 'events',
  },
  interruptRun: {
    method: 'POST',
    path: '/api/v1/runs/:run/interrupt',
    summary: 'End a running command on all its servers, as Ctrl-C does',
    access: 'administer',
    params: byRun,
    response: z.object({}),
  },
  shell: {
    method: 'POST',
    path: '/api/v1/environments/:application/:environment/servers/:server/shell',
    summary: "A terminal with the user's shell on a server; answers what it shows; ends when the caller goes away",
    access: 'administer',
    params: place.extend({ server: serverName }),
    body: shellBody,
    response: execEventSchema,
    stream: 'events',
  },
  runInput: {
    method: 'POST',
    path: '/api/v1/runs/:run/input',
    summary: 'What is typed into a terminal, in base64, and its size; answers when there is room for more',
    access: 'administer',
    audited: false,
    params: byRun,
    body: z.strictObject({
      base64: z.base64().max(1_000_000).default(''),
      size: terminalSizeSchema.optional(),
      end: z.boolean().default(false),
    }),
    response: z.object({}),
  },
  copyTo: {
    method: 'PUT',
    path: '/api/v1/environments/:application/:environment/file',
    summary: 'Put the file that is the body onto servers: whole, or not at all',
    access: 'administer',
    params: place,
    query: z.object({
      /** Servers by name, again for more. */
      server: serverList,
      path: filePathSchema,
      /** Its name where the path is a directory. */
      name: fileNameSchema,
      size: z.coerce.number().int().min(0),
      mode: z.coerce.number().int().min(0).max(0o777),
      digest: z.string().regex(digestPattern),
      requestedBy: z.string().max(200).optional(),
    }),
    response: z.object({ outcomes: z.array(commandOutcomeSchema) }),
    stream: 'pack',
  },
  copyFrom: {
    method: 'GET',
    path: '/api/v1/environments/:application/:environment/file',
    summary: 'A file from servers',
    access: 'administer',
    audited: true,
    params: place,
    query: z.object({ server: serverList, path: filePathSchema, requestedBy: z.string().max(200).optional() }),
    response: copyEventSchema,
    stream: 'events',
  },
  runs: {
    method: 'GET',
    path: '/api/v1/environments/:application/:environment/runs',
    summary: 'Commands that were run, the newest first: who, when, what, where, and what came of it',
    access: 'read',
    params: place,
    query: z.object(pageOf({ most: 500, usual: 30 })),
    response: z.object({ runs: z.array(runSchema), next: nextSchema }),
  },
} as const satisfies Record<string, Route>
