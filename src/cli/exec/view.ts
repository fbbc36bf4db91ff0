import type { CommandOutcome } from '../../protocol/api/commands.ts'
import { harmlessLines } from '../../protocol/control-characters.ts'
import { countText, foldAnswers, namesText, type Answer, type Chunk } from './answers.ts'
import { outcomeText } from './exit-code.ts'
import { LabelledLines, ServerLabels } from './server-lines.ts'

/** How long the first output of a server is held back, to be shown once for all that answer the same. Milliseconds. */
const heldFor = 1_000
/** What is held of all servers together; with more, it is shown as it comes. Bytes. */
const mostHeld = 1024 * 1024

export interface ViewOptions {
  servers: readonly string[]
  width: number
  color: boolean
  /** False: every line as it comes. */
  fold: boolean
  /** Which of the two a terminal takes: it gets nothing that it would obey. */
  terminals: Record<'stdout' | 'stderr', boolean>
  /** Resolves when there is room for more. */
  write(stream: 'stdout' | 'stderr', bytes: Buffer): Promise<void>
}

/**
 * Shows what several servers print: quick answers once for all that gave the same, everything else line by line as it
 * comes, behind the server's name.
 */
export class ExecView {
  readonly #options: ViewOptions
  readonly #labels: ServerLabels
  readonly #lines = new Map<string, Record<Chunk['stream'], LabelledLines>>()
  readonly #held = new Map<string, Chunk[]>()
  #answers: Answer[] = []
  #bytes = 0
  #since: number | null = null

  constructor(options: ViewOptions) {
    this.#options = options
    this.#labels = new ServerLabels(options.color, options.servers)
  }

  /** When what is held has to be shown, as a `performance.now()`; null if nothing is. */
  get due(): number | null {
    return this.#since === null ? null : this.#since + heldFor
  }

  async output(server: string, chunk: Chunk): Promise<void> {
    if (!this.#options.fold || this.#lines.has(server)) return this.#show(server, chunk)
    const held = this.#held.get(server) ?? []
    held.push(chunk)
    this.#held.set(server, held)
    this.#hold(chunk.bytes.length)
    if (this.#bytes > mostHeld) await this.flush()
  }

  async ended(outcome: CommandOutcome): Promise<void> {
    const lines = this.#lines.get(outcome.server)
    if (lines) {
      for (const stream of ['stdout', 'stderr'] as const) await this.#options.write(stream, lines[stream].end())
      if (outcome.code !== 0)
        await this.#options.write('stderr', Buffer.from(`${this.#labels.of(outcome.server)}${outcomeText(outcome)}\n`))
      return
    }
    this.#answers.push({ outcome, chunks: this.#held.get(outcome.server) ?? [] })
    this.#held.delete(outcome.server)
    this.#hold(0)
  }

  /** Shows what is held: whole answers folded, the beginnings of others as lines. */
  async flush(): Promise<void> {
    this.#since = null
    this.#bytes = 0
    const place = (answer: Answer) => this.#options.servers.indexOf(answer.outcome.server)
    const answers = this.#answers.sort((a, b) => place(a) - place(b))
    this.#answers = []
    for (const group of foldAnswers(answers)) await this.#showGroup(group.servers, group.answer)
    const begun = [...this.#held]
    this.#held.clear()
    for (const [server, chunks] of begun) for (const chunk of chunks) await this.#show(server, chunk)
  }

  #hold(bytes: number): void {
    this.#since ??= performance.now()
    this.#bytes += bytes
  }

  async #show(server: string, { stream, bytes }: Chunk): Promise<void> {
    let lines = this.#lines.get(server)
    if (!lines) {
      const { terminals } = this.#options
      const make = (stream: Chunk['stream']) => new LabelledLines(this.#labels.of(server), terminals[stream])
      this.#lines.set(server, (lines = { stdout: make('stdout'), stderr: make('stderr') }))
    }
    await this.#options.write(stream, lines[stream].push(bytes))
  }

  async #showGroup(servers: readonly string[], { outcome, chunks: printed }: Answer): Promise<void> {
    const { write, width, terminals } = this.#options
    const chunks = joined(printed).map(({ stream, bytes }) =>
      terminals[stream]
        ? { stream, bytes: Buffer.from(harmlessLines(bytes.toString('utf8')).join('\n')) }
        : { stream, bytes },
    )
    const whole = Buffer.concat(chunks.map((chunk) => chunk.bytes))
    const went = outcome.code === 0 ? '' : `, ${outcomeText(outcome)}`
    const head = `${countText(servers)}${went}:`
    const single =
      chunks.every((chunk) => chunk.stream === chunks[0]?.stream) &&
      whole.indexOf(10) >= whole.length - 1 &&
      head.length + whole.length < width
    if (whole.length === 0 || (single && whole.indexOf(10) === whole.length - 1)) {
      const names =
        servers.length === 1 ? '' : `  (${namesText(servers, Math.max(10, width - head.length - whole.length - 4))})`
      const answer = whole.length === 0 ? (went === '' ? 'no output' : '') : whole.toString('utf8').trimEnd()
      return write(
        chunks[0]?.stream ?? 'stdout',
        Buffer.from(`${whole.length === 0 && went !== '' ? head.slice(0, -1) : `${head} ${answer}`}${names}\n`),
      )
    }
    await write(
      'stdout',
      Buffer.from(`${head}${servers.length === 1 ? '' : ` ${namesText(servers, width - head.length - 1)}`}\n`),
    )
    for (const chunk of chunks) await write(chunk.stream, chunk.bytes)
    if (whole.at(-1) !== 10) await write('stdout', Buffer.from('\n'))
  }
}

/** Those that follow each other on the same stream as one: a character may be in two of them. */
function joined(chunks: readonly Chunk[]): Chunk[] {
  const all: Chunk[] = []
  for (const { stream, bytes } of chunks) {
    const last = all.at(-1)
    if (last?.stream === stream) last.bytes = Buffer.concat([last.bytes, bytes])
    else all.push({ stream, bytes })
  }
  return all
}
