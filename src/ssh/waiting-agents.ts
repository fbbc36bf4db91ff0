import type { ChildProcess } from 'node:child_process'
import { randomUUID } from 'node:crypto'
import type { PassThrough, Writable } from 'node:stream'
import type { Between } from '../protocol/conversation.ts'
import { encodeFrame } from '../protocol/frame.ts'
import type { EarlyStream } from './early-stream.ts'
import { KeptAgents, type KeptAgent } from './kept-agents.ts'
import { makePipes } from './lasting.ts'
import { LineReader } from './line-reader.ts'
import { socketDirectory } from './person-config.ts'

/** How long agents wait for the next command, where nobody said. Seconds. */
const usualWait = 120
/** How long one that waits has to answer before another one is started. Milliseconds. */
const answerWithin = 1_500
/** How long the last words to an agent may take to leave. Milliseconds. */
const partWithin = 500

/** The two directions of a connection to an agent. */
export interface AgentStreams {
  incoming: PassThrough
  outgoing: EarlyStream
  /** The agent that they lead to, once it has answered and if it may wait for the next command. */
  kept: KeptAgent | null
}

/** What a command has to do with agents that wait: it speaks to those of the command before, and leaves its own for the next. */
export class WaitingAgents {
  readonly #seconds: number
  /** Those to whom the last words were said; whether they have left. */
  readonly #left = new Map<KeptAgent, Promise<boolean>>()
  readonly #childOf = new Map<KeptAgent, ChildProcess>()
  /** Those that waited for this command, and were spoken to. */
  readonly #spoken = new Set<KeptAgent>()
  #kept: KeptAgents | null = null
  #parting = false

  /** `seconds`: how long they wait; 0: none does. */
  constructor(seconds: number = usualWait) {
    this.#seconds = seconds
  }

  /** The command is over: agents whose connections end from now on may wait. */
  part(): void {
    this.#parting = true
  }

  /** Named pipes for an agent that is about to be started; null: it ends with this command. */
  async pipes(): Promise<string | null> {
    return this.#ifKept((kept) => makePipes(kept.directory))
  }

  /** One that was asked for as this; null if none waits. */
  find(alias: string): KeptAgent | null {
    return this.#ifKept((kept) => kept.take(alias))
  }

  /** Begins another conversation. Null: the agent does not answer. */
  async speak(agent: KeptAgent, { outgoing }: AgentStreams, signal: AbortSignal): Promise<LineReader | null> {
    this.#spoken.add(agent)
    const { stdin, stdout } = agent.streams
    const id = randomUUID()
    stdin.write(encodeFrame({ kind: 'next', id } satisfies Between))
    outgoing.attach(stdin)
    const lines = new LineReader(stdout)
    const giveUp = () => agent.streams.close()
    const limit = setTimeout(giveUp, answerWithin)
    signal.addEventListener('abort', giveUp, { once: true })
    // What the command before did not read comes first; the end of that is known by its bytes.
    const answered = await lines.skipPast(encodeFrame({ kind: 'ready', id } satisfies Between))
    clearTimeout(limit)
    signal.removeEventListener('abort', giveUp)
    return answered ? lines : null
  }

  /** Whether an agent that was spoken to answers and is the one that is wanted, by its key. If it is not it is given up. */
  async settle(
    agent: KeptAgent,
    speaking: Promise<LineReader | null>,
    key: string,
    streams: AgentStreams,
  ): Promise<boolean> {
    const lines = await speaking
    if (lines === null || agent.key !== key) {
      agent.streams.close()
      return false
    }
    streams.outgoing.settle(false)
    streams.kept = agent
    lines.rest().pipe(streams.incoming)
    return true
  }

  /** An agent was started that may wait. */
  started(agent: KeptAgent, child: ChildProcess, streams: AgentStreams): void {
    streams.kept = agent
    this.#childOf.set(agent, child)
  }

  /** What becomes of a connection when its carrier ends. */
  end({ kept }: AgentStreams, target: Writable | null): void {
    if (!this.#parting || kept === null || target === null || target.destroyed) {
      // A pipe with a name is not shut down, it is closed.
      target?.end(() => kept && target.destroy())
      return
    }
    const gone = new Promise<boolean>((resolve) => {
      target.write(encodeFrame({ kind: 'bye' } satisfies Between), (error) => resolve(!error))
      setTimeout(resolve, partWithin, false).unref()
    })
    this.#left.set(kept, gone)
  }

  /** Leaves those that can wait. Answers the processes that run on for them. */
  async leave(): Promise<ChildProcess[]> {
    const said = await Promise.all(
      [...this.#left].map(async ([agent, gone]) => ((await gone) ? agent : agent.streams.close())),
    )
    const agents = said.filter((agent) => agent !== undefined)
    this.#kept?.leave(agents, this.#seconds)
    // Nobody waits for the end of an ssh that another command started: whatever became of it, it ends, or this process would not.
    for (const agent of this.#spoken) if (!agents.includes(agent)) agent.streams.close()
    return agents.flatMap((agent) => this.#childOf.get(agent) ?? [])
  }

  /** Null where agents do not wait, and where that cannot be: without it everything works as well. */
  #ifKept<T>(work: (kept: KeptAgents) => T): T | null {
    if (this.#seconds === 0) return null
    try {
      return work((this.#kept ??= new KeptAgents(socketDirectory())))
    } catch {
      return null
    }
  }
}
