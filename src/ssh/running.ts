import { spawn, type ChildProcess } from 'node:child_process'
import type { Readable, Writable } from 'node:stream'
import { LastingStreams } from './lasting.ts'

/** How much of what ssh complains of is kept. Characters. */
const mostComplaints = 20_000

/** An ssh that runs. */
export interface Running {
  child: ChildProcess
  stdin: Writable
  stdout: Readable
  /** Null: it ends with this process. */
  lasting: LastingStreams | null
  /** What it complained of so far. */
  complaints(): string
}

/** Starts ssh in a session of its own: Ctrl-C is for dploy, which may still need the connection to undo what it did. `pipes`: where its streams are if it may outlive this process. */
export function startSsh(args: string[], pipes: string | null): Running {
  const options = { detached: true, env: environment() } as const
  const lasting =
    pipes === null ? null : LastingStreams.create(pipes, (stdio) => spawn('ssh', args, { ...options, stdio }))
  if (lasting) {
    const { streams, started } = lasting
    return {
      child: started,
      stdin: streams.stdin,
      stdout: streams.stdout,
      lasting: streams,
      complaints: () => streams.complaints,
    }
  }
  const child = spawn('ssh', args, { ...options, stdio: ['pipe', 'pipe', 'pipe'] })
  let said = ''
  child.stderr.on('data', (chunk: Buffer) => (said = (said + chunk.toString()).slice(-mostComplaints)))
  return { child, stdin: child.stdin, stdout: child.stdout, lasting: null, complaints: () => said }
}

/** The person's own, with messages of ssh in the language that they are read in. */
export function environment(): NodeJS.ProcessEnv {
  return { ...process.env, LC_ALL: 'C' }
}
