import { execFile } from 'node:child_process'
import { closeSync, constants, mkdtempSync, openSync, readSync, renameSync, rmSync } from 'node:fs'
import { Socket } from 'node:net'
import { join } from 'node:path'
import { promisify } from 'node:util'

const { O_RDONLY, O_WRONLY, O_NONBLOCK } = constants
const endings = ['in', 'out', 'err'] as const
/** How much of what ssh complains of is kept. Bytes. */
const mostComplaints = 20_000

/** This side's ends, as file descriptors. */
interface Ends {
  stdin: number
  stdout: number
  stderr: number
}

/**
 * The standard streams of an ssh that may outlive this process: three named pipes. As long as anybody has this side's ends
 * open, the ssh and the agent at its other end live; nobody, and they end.
 */
export class LastingStreams {
  #path: string
  readonly #ends: Ends
  #sockets: { stdin: Socket; stdout: Socket; stderr: Socket } | null = null
  #said: Buffer = Buffer.alloc(0)
  #closed = false

  private constructor(path: string, ends: Ends) {
    this.#path = path
    this.#ends = ends
  }

  /** What the ssh reads. */
  get stdin(): Socket {
    return this.#open().stdin
  }

  /** What it says. */
  get stdout(): Socket {
    return this.#open().stdout
  }

  /** Opens pipes that nothing has at its other end yet, and gives that other end to `start` as a child's standard streams, which it only has to hand on. Null: they cannot be opened. */
  static create<T>(
    path: string,
    start: (stdio: [number, number, number]) => T,
  ): { streams: LastingStreams; started: T } | null {
    const opened: number[] = []
    const open = (ending: (typeof endings)[number], flags: number) => {
      const file = openSync(`${path}.${ending}`, flags | O_NONBLOCK)
      opened.push(file)
      return file
    }
    try {
      const [childIn, stdin] = [open('in', O_RDONLY), open('in', O_WRONLY)]
      const [stdout, childOut] = [open('out', O_RDONLY), open('out', O_WRONLY)]
      const [stderr, childErr] = [open('err', O_RDONLY), open('err', O_WRONLY)]
      const started = start([childIn, childOut, childErr])
      for (const file of [stdin, stdout, stderr]) opened.splice(opened.indexOf(file), 1)
      const streams = new LastingStreams(path, { stdin, stdout, stderr })
      streams.#open()
      return { streams, started }
    } catch {
      return null
    } finally {
      for (const file of opened) closeSync(file)
    }
  }

  /** The streams of an ssh that lives; null if it does not any more. */
  static reopen(path: string): LastingStreams | null {
    const ends = openEnds(path)
    return ends && new LastingStreams(path, ends)
  }

  /** What the ssh complained of until now: the end of it. */
  get complaints(): string {
    // What has not been read yet: a pipe that blocks nobody says so when it is empty.
    const bytes = Buffer.alloc(mostComplaints)
    try {
      for (let length = 1; length > 0 && !this.#closed; this.#take(bytes.subarray(0, length)))
        length = readSync(this.#ends.stderr, bytes)
    } catch {
      // It is empty.
    }
    return this.#said.toString('utf8')
  }

  /** Moves to another place. */
  move(path: string): void {
    for (const ending of endings) renameSync(`${this.#path}.${ending}`, `${path}.${ending}`)
    this.#path = path
  }

  /** Further file descriptors of this side's ends, for another process; null if the ssh has ended. */
  ends(): number[] | null {
    const ends = openEnds(this.#path)
    return ends && Object.values(ends)
  }

  /** Closes this side's ends: if nobody else has them, the ssh ends. */
  close(): void {
    if (this.#closed) return
    this.#closed = true
    if (this.#sockets) for (const socket of Object.values(this.#sockets)) socket.destroy()
    else for (const file of Object.values(this.#ends)) closeSync(file)
  }

  /** A socket reads ahead: they are made when somebody wants to read. */
  #open(): { stdin: Socket; stdout: Socket; stderr: Socket } {
    if (this.#sockets) return this.#sockets
    const { stdin, stdout, stderr } = this.#ends
    this.#sockets = {
      stdin: new Socket({ fd: stdin, readable: false, writable: true }),
      stdout: new Socket({ fd: stdout, readable: true, writable: false }),
      stderr: new Socket({ fd: stderr, readable: true, writable: false }),
    }
    for (const socket of Object.values(this.#sockets)) socket.on('error', () => {})
    this.#sockets.stderr.on('data', (chunk: Buffer) => this.#take(chunk))
    return this.#sockets
  }

  #take(chunk: Buffer): void {
    this.#said = Buffer.concat([this.#said, chunk]).subarray(-mostComplaints)
  }
}

/** Opens this side's ends. Without anybody who reads it a pipe cannot be opened for writing (fifo(7), ENXIO): the ssh is gone. */
function openEnds(path: string): Ends | null {
  const opened: number[] = []
  const open = (ending: (typeof endings)[number], flags: number) => {
    opened.push(openSync(`${path}.${ending}`, flags | O_NONBLOCK))
    return opened.at(-1)!
  }
  try {
    return { stdin: open('in', O_WRONLY), stdout: open('out', O_RDONLY), stderr: open('err', O_RDONLY) }
  } catch {
    for (const file of opened) closeSync(file)
    return null
  }
}

interface Wanted {
  parent: string
  made: PromiseWithResolvers<string | null>
}
let wanted: Wanted[] = []

/** Makes the files of one LastingStreams in a directory of its own; null where named pipes cannot be made. Those that are asked for together cost one process. */
export function makePipes(parent: string): Promise<string | null> {
  const made = Promise.withResolvers<string | null>()
  // Those of one command come within moments, each when its server's turn has come.
  if (wanted.length === 0) setImmediate(() => void makeAll())
  wanted.push({ parent, made })
  return made.promise
}

async function makeAll(): Promise<void> {
  const all = wanted
  wanted = []
  let directory: string | null = null
  try {
    directory = mkdtempSync(join(all[0]!.parent, `new-${process.pid}-`))
    const paths = all.map((_, index) => join(directory!, String(index)))
    await promisify(execFile)('mkfifo', [
      '-m',
      '600',
      ...paths.flatMap((path) => endings.map((ending) => `${path}.${ending}`)),
    ])
    all.forEach(({ made }, index) => made.resolve(paths[index]!))
  } catch {
    if (directory !== null) rmSync(directory, { recursive: true, force: true })
    for (const { made } of all) made.resolve(null)
  }
}
