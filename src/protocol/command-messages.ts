import * as z from 'zod'
import { digestPattern } from './manifest.ts'

/**
 * Messages for a person's own command on a server, a terminal there, and files to and from it. Output travels as the
 * bodies of events. The agent sends no more than `window` bytes that were not acknowledged by `session` with `credit`:
 * what nobody reads stays in the pipe of the program that prints it, and no memory grows.
 */

/** One argument of `sh -c`, with nothing put into it; or a program and its arguments, without a shell. */
export const personCommandSchema = z.union([
  z.strictObject({ line: z.string().min(1).max(100_000) }),
  z.strictObject({ file: z.string().min(1).max(10_000), args: z.array(z.string().max(100_000)).max(10_000) }),
])
export type PersonCommand = z.infer<typeof personCommandSchema>

/** Columns and rows of a terminal. */
export const terminalSizeSchema = z.object({
  columns: z.number().int().min(1).max(10_000),
  rows: z.number().int().min(1).max(10_000),
})
export type TerminalSize = z.infer<typeof terminalSizeSchema>

const place = z.object({ application: z.string(), environment: z.string(), directory: z.string().startsWith('/') })
/** Names what is running, so that `session` can reach it. Unguessable. */
const session = z.string().min(16).max(100)

const digest = z.string().regex(digestPattern)
/** Absolute, with no way up in it. */
export const filePathSchema = z
  .string()
  .max(4_000)
  .regex(/^\/(?!(?:[^\0]*\/)?\.\.(?:\/|$))[^\0]*$/, 'must be an absolute path without ".."')
export const fileNameSchema = z
  .string()
  .max(255)
  .regex(/^(?!\.{1,2}$)[^/\0]+$/)

export const commandMethods = {
  /**
   * Runs a person's command, or with `terminal` an interactive one (by default the user's own shell). The event's body is
   * what it printed. When the call is cancelled or the connection ends, its whole process group is ended.
   */
  exec: {
    params: place.extend({
      session,
      /** Null, with a terminal: the user's shell. */
      command: personCommandSchema.nullable(),
      /** Run as this user; by default as the one that the agent runs as. */
      user: z
        .string()
        .regex(/^[a-z_][a-z0-9_-]{0,31}\$?$/i)
        .optional(),
      /** Run as root. */
      sudo: z.boolean(),
      /** Milliseconds; null: any time. */
      timeout: z
        .number()
        .positive()
        .max(2 ** 31 - 1)
        .nullable(),
      /** Bytes that may be on the way without having been acknowledged. */
      window: z
        .number()
        .int()
        .min(1)
        .max(16 * 1024 * 1024),
      terminal: terminalSizeSchema.extend({ kind: z.string().regex(/^[A-Za-z0-9._+-]{1,60}$/) }).nullable(),
    }),
    result: z.object({ code: z.number().nullable(), signal: z.string().nullable(), ms: z.number() }),
    event: z.object({ stream: z.enum(['stdout', 'stderr']) }),
  },
  /**
   * Takes a file, whose bytes come by `session`. It stands under its path whole, with this digest, or not at all. Where the
   * path is a directory, it stands in it under `name`.
   */
  receive_file: {
    params: place.extend({
      session,
      path: filePathSchema,
      name: fileNameSchema,
      size: z.number().int().min(0),
      mode: z.number().int().min(0).max(0o777),
      digest,
    }),
    result: z.object({ path: z.string() }),
    event: z.never(),
  },
  /** Sends a file: its bytes are the bodies of events. */
  send_file: {
    params: place.extend({
      session,
      path: filePathSchema,
      window: z
        .number()
        .int()
        .min(1)
        .max(16 * 1024 * 1024),
    }),
    result: z.object({ size: z.number(), mode: z.number(), digest }),
    /** How long the file is that begins with these bytes. */
    event: z.object({ size: z.number() }),
  },
  /** For something that runs: acknowledges bytes, brings input (the call's body), changes the terminal's size. */
  session: {
    params: z.object({
      session,
      /** Grows by one with each: what comes again, or out of order, is refused. */
      sequence: z.number().int().min(1),
      credit: z.number().int().min(0).default(0),
      size: terminalSizeSchema.optional(),
      /** Nothing more will be put in. */
      end: z.boolean().default(false),
      /** Ends it as Ctrl-C does: SIGINT, and if that does not help SIGTERM, then SIGKILL, to its whole process group. */
      interrupt: z.boolean().default(false),
    }),
    result: z.object({}),
    event: z.never(),
  },
} as const
