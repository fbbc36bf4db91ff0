import { join } from 'node:path'
import type { AgentParams, AgentResult } from '../../protocol/agent-messages.ts'
import type { CallContext } from '../../protocol/peer.ts'
import { diagnose } from '../diagnose/diagnose.ts'
import { observeService, type KeptServices } from '../kept-services.ts'
import { Arrivals } from './arrivals.ts'
import { commandEnvironment, currentRelease } from './current-release.ts'
import { runExec } from './exec.ts'
import { receiveFile, sendFile } from './files.ts'
import { Sessions } from './session.ts'

export interface PersonCommandsOptions {
  root: string
  stateDirectory: string
  services: KeptServices
  /** The name of this server. */
  name(): string
}

/** What people do on this server beside deployments: their own commands and terminals, files, questions. */
export class PersonCommands {
  readonly #options: PersonCommandsOptions
  readonly #sessions = new Sessions()
  readonly #running = new Set<Promise<unknown>>()
  readonly #arrivals: Arrivals

  constructor(options: PersonCommandsOptions) {
    this.#options = options
    this.#arrivals = new Arrivals(options.stateDirectory)
    this.#arrivals.sweep()
  }

  /** Whether something runs that a person started. */
  get busy(): boolean {
    return this.#running.size > 0
  }

  /** Resolves once none of them runs any more. When the connection ends, all are ended. */
  async ended(): Promise<void> {
    await Promise.allSettled(this.#running)
  }

  exec(params: AgentParams<'exec'>, call: CallContext): Promise<AgentResult<'exec'>> {
    return this.#run(async () => {
      const { root, name } = this.#options
      const { directory, spec } = currentRelease(root, params.directory)
      using session = this.#sessions.open(params.session, params.window)
      return await runExec({
        ...params,
        cwd: join(directory, 'current'),
        fallback: root,
        env: commandEnvironment(params, name(), spec),
        user: params.user,
        session,
        signal: call.signal,
        emit: (stream, bytes) => call.emit({ stream }, bytes),
      })
    })
  }

  receiveFile(params: AgentParams<'receive_file'>, call: CallContext): Promise<AgentResult<'receive_file'>> {
    return this.#run(async () => {
      using session = this.#sessions.open(params.session, 0)
      return await receiveFile({
        ...params,
        root: this.#options.root,
        session,
        signal: call.signal,
        arrivals: this.#arrivals,
      })
    })
  }

  sendFile(params: AgentParams<'send_file'>, call: CallContext): Promise<AgentResult<'send_file'>> {
    return this.#run(async () => {
      using session = this.#sessions.open(params.session, params.window)
      return await sendFile({
        ...params,
        root: this.#options.root,
        session,
        signal: call.signal,
        emit: (size, bytes) => call.emit({ size }, bytes),
      })
    })
  }

  async session(message: AgentParams<'session'>, call: CallContext): Promise<AgentResult<'session'>> {
    await this.#sessions.receive(message, call.body)
    return {}
  }

  async diagnose(params: AgentParams<'diagnose'>, call: CallContext): Promise<AgentResult<'diagnose'>> {
    const { root, stateDirectory, services } = this.#options
    const { spec } = currentRelease(root, params.directory)
    const kept = spec?.service ? services.of(spec, spec.service.manager) : null
    const service = kept ? await observeService(kept).catch(() => null) : null
    const ports = [...new Set([...params.ports, ...((spec && kept?.handover?.portsOf(spec.number)) ?? [])])]
    return diagnose({ params: { ...params, ports }, root, stateDirectory, service, signal: call.signal })
  }

  #run<T>(work: () => Promise<T>): Promise<T> {
    const running = work()
    this.#running.add(running)
    void running.catch(() => {}).finally(() => this.#running.delete(running))
    return running
  }
}
