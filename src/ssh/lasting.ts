import { execFile } from 'node:child_process'
import { closeSync, constants, mkdtempSync, openSync, readSync, fstatSync, renameSync, rmSync } from 'node:fs'
import { Socket } from 'node:net'
import { join } from 'node:path'
import { promisify } from 'node:util'

const { O_RDONLY, O_WRONLY, O_NONBLOCK, O_APPEND, O_CREAT } = constants
const endings = ['in', 'out', 'err'] as const

/**
 * The standard streams of an ssh that may outlive this process: two named pipes, and a file for what it complains of. As
 * long as anybody has its ends of the pipes open, the ssh and the agent at its other end live; nobody, and they end.
 */
export class LastingStreams {
  #path: string
  readonly #ends: { stdin: number; stdout: number }
  #stdin: Socket | null = null
  #stdout: Socket | null = null

  private constructor(path: string, ends: { stdin: number; stdout: number }) {
    this.#path = path
    this.#ends = ends
  }

  /** What the ssh reads. */
  get stdin(): Socket {
    return (this.#stdin ??= new Socket({ fd: this.#ends.stdin, readable: false, writable: true }).on('error', () => {}))
  }

  /** What it says. A socket reads ahead: it is made when somebody wants to read. */
  get stdout(): Socket {
    return (this.#stdout ??= new Socket({ fd: this.#ends.stdout, readable: true, writable: false }).on('error', () => {}))
  }

  /** Opens pipes that nothing has at its other end yet, and gives that other end to `start` as a child's standard streams, which it only has to hand on. */
  static create<T>(path: string, start: (stdio: [number, number, number]) => T): { streams: LastingStreams; started: T } {
    const opened: number[] = []
    const open = (ending: string, flags: number) => {
      const file = openSync(`${path}.${ending}`, flags, 0o600)
      opened.push(file)
      return file
    }
    try {
      const childIn = open('in', O_RDONLY | O_NONBLOCK)
      const stdin = open('in', O_WRONLY | O_NONBLOCK)
      const stdout = open('out', O_RDONLY | O_NONBLOCK)
      const childOut = open('out', O_WRONLY | O_NONBLOCK)
      const childErr = open('err', O_WRONLY | O_CREAT | O_APPEND)
      const started = start([childIn, childOut, childErr])
      for (const file of [stdin, stdout]) opened.splice(opened.indexOf(file), 1)
      return { streams: new LastingStreams(path, { stdin, stdout }), started }
    } finally {
      for (const file of opened) closeSync(file)
    }
  }

  /** The streams of an ssh that lives; null if it does not any more. */
  static reopen(path: string): LastingStreams | null {
    const ends = openEnds(path)
    return ends && new LastingStreams(path, ends)
  }

  /** What the ssh complained of: the end of it. */
  get complaints(): string {
    try {
      const file = openSync(`${this.#path}.err`, O_RDONLY)
      try {
        const { size } = fstatSync(file)
        const bytes = Buffer.alloc(Math.min(size, 20_000))
        return bytes.toString('utf8', 0, readSync(file, bytes, 0, bytes.length, size - bytes.length))
      } finally {
        closeSync(file)
      }
    } catch {
      return ''
    }
  }

  /** Moves to another place. */
  move(path: string): void {
    for (const ending of endings) renameSync(`${this.#path}.${ending}`, `${path}.${ending}`)
    this.#path = path
  }

  /** Further file descriptors of this side's ends, for another process; null if the ssh has ended. */
  ends(): number[] | null {
    const ends = openEnds(this.#path)
    return ends && [ends.stdin, ends.stdout]
  }

  /** Closes this side's ends: if nobody else has them, the ssh ends. */
  close(): void {
    for (const [socket, file] of [[this.#stdin, this.#ends.stdin], [this.#stdout, this.#ends.stdout]] as const) {
      if (socket) socket.destroy()
      else closeSync(file)
    }
  }
}

/** Opens this side's ends. Without anybody who reads it a pipe cannot be opened for writing (fifo(7), ENXIO): the ssh is gone. */
function openEnds(path: string): { stdin: number; stdout: number } | null {
  let stdin: number | null = null
  try {
    stdin = openSync(`${path}.in`, O_WRONLY | O_NONBLOCK)
    return { stdin, stdout: openSync(`${path}.out`, O_RDONLY | O_NONBLOCK) }
  } catch {
    if (stdin !== null) closeSync(stdin)
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
    await promisify(execFile)('mkfifo', ['-m', '600', ...paths.flatMap((path) => [`${path}.in`, `${path}.out`])])
    all.forEach(({ made }, index) => made.resolve(paths[index]!))
  } catch {
    if (directory !== null) rmSync(directory, { recursive: true, force: true })
    for (const { made } of all) made.resolve(null)
  }
}
