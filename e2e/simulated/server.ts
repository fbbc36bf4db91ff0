import { setTimeout as delay } from 'node:timers/promises'
import { admitCommand } from '../../src/agent/command-gate.ts'
import { keepConnected } from '../../src/agent/connection.ts'
import {
  agentMethods,
  helloParams,
  type AgentMethod,
  type AgentParams,
  type AgentResult,
  type ServiceState,
  type StepEvent,
} from '../../src/protocol/agent-messages.ts'
import { DployError } from '../../src/protocol/errors.ts'
import { Peer, type CallContext, type Carrier } from '../../src/protocol/peer.ts'
import { helloText, newKeyPair, readPrivateKey, signText } from '../../src/protocol/signature.ts'
import { protocolNumber } from '../../src/protocol/version.ts'

/** How long servers take, and how much their hooks print. Milliseconds; lines per server. What is changed counts from the next command on. */
export interface Pace {
  stage: readonly [least: number, most: number]
  activate: readonly [least: number, most: number]
  stageLines: number
  activateLines: number
}

interface Identity {
  server: string
  name: string
  controlKey: string
  privateKey: string
}

/**
 * A server that is only played: it joins with a token, proves its key, and obeys what the control plane signed, as an agent does.
 * What it does takes the time that it would take, and changes nothing but its memory.
 */
export class SimulatedServer {
  /** Over all servers of this process. */
  static commands = 0
  static lines = 0
  readonly #control: string
  readonly #identity: Identity
  readonly #pace: Pace
  #epoch = 0
  #releases: AgentResult<'observe'>['releases'] = []
  #current: number | null = null
  #record: AgentResult<'hold'>['record'] = null
  #since = 0
  #peer: Peer | null = null

  private constructor(control: string, identity: Identity, pace: Pace) {
    this.#control = control
    this.#identity = identity
    this.#pace = pace
  }

  static async join(control: string, name: string, token: string, pace: Pace): Promise<SimulatedServer> {
    const { privateKey, publicKey } = newKeyPair()
    const response = await fetch(new URL('/agents/join', control), {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify({ token, name, publicKey }),
    })
    const answer = (await response.json()) as { server: string; controlKey: string; detail?: string }
    if (!response.ok) throw new Error(`${name} was refused: ${answer.detail}`)
    return new SimulatedServer(
      control,
      { server: answer.server, name, controlKey: answer.controlKey, privateKey },
      pace,
    )
  }

  get open(): boolean {
    return this.#peer?.open ?? false
  }

  /** Resolves when the control plane knows it; from then on it comes back whenever its connection ends, as an agent does. */
  async connect(): Promise<void> {
    const greeted = Promise.withResolvers<void>()
    const serve = (carrier: Carrier) => {
      this.#peer = new Peer(carrier, {
        hello: async (params) => {
          const { nonce } = helloParams.parse(params)
          const { server, name, privateKey } = this.#identity
          greeted.resolve()
          return {
            protocol: protocolNumber,
            server,
            signature: signText(readPrivateKey(privateKey), helloText(nonce, server)),
            version: 'simulated',
            platform: 'linux-x64',
            instance: name,
            clock: Date.now(),
          }
        },
        command: (params, context) => this.#obey(params, context),
      })
      return this.#peer.closed
    }
    void keepConnected({
      control: this.#control,
      proxy: null,
      signal: new AbortController().signal,
      serve,
      log: () => {},
    })
    await greeted.promise
  }

  /** Does what was signed, and nothing else. */
  async #obey(signed: unknown, context: CallContext): Promise<unknown> {
    const command = admitCommand(signed, context.body, {
      controlKey: this.#identity.controlKey,
      server: this.#identity.server,
      epoch: () => this.#epoch,
      raiseEpoch: (_application, _environment, epoch) => void (this.#epoch = epoch),
      now: Date.now,
    })
    SimulatedServer.commands++
    const work = this.#methods[command.method] as
      ((params: unknown, context: CallContext) => Promise<unknown>) | undefined
    if (!work) throw new DployError('command.refused', `A simulated server knows no ${command.method}`)
    return work(agentMethods[command.method].params.parse(command.params), context)
  }

  readonly #methods: {
    [M in AgentMethod]?: (params: AgentParams<M>, context: CallContext) => Promise<AgentResult<M>>
  } = {
    observe: async () => ({
      current: this.#current,
      releases: this.#releases,
      service: this.#service(),
      freeBytes: 40e9,
    }),
    hold: async ({ record, known }) => {
      this.#record = record ?? this.#record
      const told = this.#record?.writtenAt === known ? null : this.#record
      return { granted: true, lock: null, epoch: this.#epoch, record: told }
    },
    stage: async ({ release }, context) => {
      const took = await this.#work(
        'after_stage',
        ['fetch', 'unpack', 'hook after_stage'],
        this.#pace.stage,
        this.#pace.stageLines,
        context,
      )
      this.#releases = [
        ...this.#releases.filter(({ number }) => number !== release.number),
        { number: release.number, id: release.id, artifact: release.artifact },
      ].slice(-5)
      return {
        already: false,
        objects: 3,
        bytes: 4_096,
        repaired: 0,
        spans: [
          { name: 'fetch', start: 0, end: took * 0.3 },
          { name: 'unpack', start: took * 0.3, end: took * 0.5 },
          { name: 'after_stage', start: took * 0.5, end: took },
        ],
      }
    },
    activate: async ({ release }, context) => {
      const took = await this.#work(
        'after_activate',
        ['stop', 'start', 'health', 'hook after_activate'],
        this.#pace.activate,
        this.#pace.activateLines,
        context,
      )
      this.#current = release.number
      this.#since = Date.now()
      return {
        already: false,
        spans: [
          { name: 'stop', start: 0, end: took * 0.2 },
          { name: 'boot', start: took * 0.2, end: took * 0.8 },
          { name: 'after_activate', start: took * 0.8, end: took },
        ],
        service: this.#service(),
      }
    },
    watch: async ({ duration }, { signal }) => {
      await delay(duration, undefined, { signal, ref: false }).catch(() => {})
      return { checks: 1 }
    },
    check_health: async () => ({ healthy: true, detail: 'simulated' }),
    collect: async () => ({ removedReleases: [], removedObjects: 0, freedBytes: 0 }),
  }

  /** Takes a time between the two, says on the way which phase it is in, and prints the lines evenly. Answers how long it took. */
  async #work(
    source: string,
    phases: readonly string[],
    [least, most]: readonly [number, number],
    lines: number,
    { emit, signal }: CallContext,
  ): Promise<number> {
    const took = least + Math.random() * (most - least)
    const parts = Math.max(phases.length, Math.ceil(lines / 4))
    for (let part = 0, phase = -1, line = 0; part < parts; part++) {
      const now = Math.floor((part * phases.length) / parts)
      if (now !== phase) await emit({ kind: 'progress', phase: phases[(phase = now)]! } satisfies StepEvent)
      let text = ''
      for (; line < Math.floor((lines * (part + 1)) / parts); line++)
        text += `\u001b[32mok\u001b[0m ${source} ${line + 1}/${lines}: checked package-${Math.floor(Math.random() * 9_000)} in ${(Math.random() * 40).toFixed(1)} ms\n`
      if (text !== '') await emit({ kind: 'output', source, stream: 'stdout', text } satisfies StepEvent)
      SimulatedServer.lines = SimulatedServer.lines + text.split('\n').length - 1
      await delay(took / parts, undefined, { signal })
    }
    return took
  }

  #service(): ServiceState {
    return this.#current === null
      ? { state: 'stopped', release: null, since: null, pids: [], restarts: 0 }
      : { state: 'running', release: this.#current, since: this.#since, pids: [4_242], restarts: 0 }
  }
}
