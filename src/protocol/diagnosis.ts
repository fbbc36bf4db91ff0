import * as z from 'zod'

/** What an agent says of its server before anything is changed there. Bytes, milliseconds. Nothing is changed by asking. */
export const diagnosisSchema = z.object({
  /** The release that `current` points at, and what its service does; null: none. */
  current: z.number().nullable(),
  service: z.object({ state: z.string(), release: z.number().nullable() }).nullable(),
  directory: z.object({
    path: z.string(),
    /** The nearest one that exists. */
    nearest: z.string(),
    /** Why it cannot be written, as the kernel names it (EACCES, EROFS, ENOTDIR); null if it can. */
    problem: z.string().nullable(),
    /** The release that serves there, if it is another application's or another environment's. Agents from before do not say. */
    foreign: z.object({ application: z.string(), environment: z.string(), release: z.number() }).nullable().optional(),
  }),
  /** The file systems of the release directory and of the agent's state. `totalInodes` 0: it has no limit. */
  disks: z.array(
    z.object({
      path: z.string(),
      freeBytes: z.number(),
      totalBytes: z.number(),
      freeInodes: z.number(),
      totalInodes: z.number(),
    }),
  ),
  /** What the release that serves takes; zeros if none does. */
  release: z.object({ bytes: z.number(), files: z.number() }),
  user: z.object({ name: z.string(), uid: z.number(), /** Whether `sudo -n` makes it root. */ sudo: z.boolean() }),
  /** `linux-x64`. */
  platform: z.string(),
  /** The version of glibc; null where there is another. */
  glibc: z.string().nullable(),
  /** Who listens where the service is to. Null: nobody. */
  ports: z.array(
    z.object({
      port: z.number(),
      owner: z
        .object({ pid: z.number().nullable(), command: z.string(), user: z.string(), ours: z.boolean() })
        .nullable(),
    }),
  ),
  /** How long the service keeps a connection open that nobody uses; null: longer than was waited, or it closes each at once, or it does not run. */
  keepAlive: z.object({ port: z.number(), ms: z.number().nullable(), announced: z.boolean() }).nullable(),
})
export type Diagnosis = z.infer<typeof diagnosisSchema>

const place = z.object({ application: z.string(), environment: z.string(), directory: z.string().startsWith('/') })

export const diagnoseMethods = {
  diagnose: {
    params: place.extend({
      ports: z.array(z.number().int().min(1).max(65_535)).max(64),
      /** What the keep-alive connection asks for; null: it is not measured. */
      ask: z.object({ path: z.string().startsWith('/'), host: z.string().nullable() }).nullable(),
      /** How long a connection is watched. */
      patience: z.number().min(0).max(120_000),
    }),
    result: diagnosisSchema,
    event: z.never(),
  },
} as const
