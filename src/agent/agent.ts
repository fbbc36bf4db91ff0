import { randomUUID } from 'node:crypto'
import type * as z from 'zod'
import {
  agentMethods,
  helloParams,
  type AgentMethod,
  type AgentParams,
  type AgentResult,
  type CommandText,
  type StepEvent,
} from '../protocol/agent-messages.ts'
import { DployError, reportOf } from '../protocol/errors.ts'
import { Peer, type CallContext, type Carrier } from '../protocol/peer.ts'
import { handoverOf, type ReleaseSpec } from '../protocol/release-spec.ts'
import { helloText, readPrivateKey, signText } from '../protocol/signature.ts'
import { protocolNumber } from '../protocol/version.ts'
import {
  activateRelease,
  bootRelease,
  checkServicePorts,
  checkRelease,
  runHook,
  runReleaseCommand,
  watchRelease,
  type ReleaseContext,
} from './activate.ts'
import { ApplicationDirectory, isForeign } from './application-directory.ts'
import { makeAsShipped, tellChanged } from './as-shipped.ts'
import { admitCommand } from './command-gate.ts'
import { PersonCommands } from './commands/person-commands.ts'
import { fetchManifest, fetchObjects } from './fetch.ts'
import { rotateKey, type Identity } from './identity.ts'
import type { Journal } from './journal.ts'
import { LogOutbox } from './log-outbox.ts'
import { viewLogs } from './log-view.ts'
import { Machine } from './machine/machine.ts'
import { reportMachine } from './machine/reporter.ts'
import { KeptServices, observeService, type Kept } from './kept-services.ts'
import { isQuiet } from './is-quiet.ts'
import { KeptEnvironments } from './kept-environments.ts'
import { silent } from './silent.ts'
import { onlyCancelled } from './only-cancelled.ts'
import type { ManagerOptions } from './services/registry.ts'
import { isChanging, replayOf } from './replay.ts'
import { holdShared, isLookOnly } from './shared-record.ts'
import { keepVersion, onTrial, takeVersion, type Installed } from './upgrade.ts'
import { stageRelease } from './stage.ts'

export interface AgentOptions {
  /** Null for an agent that ssh carries: it learns at each hello who it is. */
  identity: Identity | null
  journal: Journal
  stateDirectory: string
  /** The EC2 instance that this is, if it is one. */
  instanceId?: string | null
  /** Null or left out: it does not upgrade itself. */
  installed?: Installed | null
  /** Called when another version is in place, to end this one. */
  onUpgraded?: () => void
  /** Release directories are taken below this one. */
  root: string
  version: string
  keeper: ManagerOptions['keeper']
  /** Resolves when what can wait may be done; false: it may not, somebody else is about to do something. Left out: it may at once. */
  quiet?: () => Promise<boolean>
  /** Tells what failed in better words, where it knows more. */
  explain?: (error: unknown) => unknown
  log(text: string): void
}

type Local = AgentParams<'activate'>['local']
interface Place {
  application: string
  environment: string
  directory: string
}
/** What a command's handler works with. */
interface Call extends CallContext {
  peer: Peer
  step(event: StepEvent): void
}
type Methods = { [M in AgentMethod]: (params: AgentParams<M>, call: Call) => Promise<AgentResult<M>> }

/** The agent of a server: obeys the control plane it joined, and remembers what it did. */
export class Agent {
  readonly #options: AgentOptions
  #identity: Identity | null
  readonly #instance = randomUUID()
  readonly #directories = new Map<string, ApplicationDirectory>()
  readonly #services: KeptServices
  readonly #environments: KeptEnvironments
  readonly #machine = new Machine()
  /** The last change that was begun, per application's environment. */
  readonly #turns = new Map<string, Promise<unknown>>()
  readonly #results = new Map<string, Promise<unknown>>()
  readonly #stop = new AbortController()
  readonly #person: PersonCommands
  readonly #peers = new Set<Peer>()

  constructor(options: AgentOptions) {
    this.#options = options
    this.#identity = options.identity
    this.#environments = new KeptEnvironments(options.stateDirectory)
    this.#services = new KeptServices({
      ...options,
      directoryOf: (path) => this.#directory(path).path,
      tell: (place, text) => this.#tell(place, text),
    })
    this.#person = new PersonCommands({ ...options, services: this.#services, name: () => this.#who().name })
  }

  /** Serves a connection until it ends; answers why it did. */
  serve(carrier: Carrier): Promise<string> {
    const greeted = Promise.withResolvers<void>()
    const peer: Peer = new Peer(carrier, {
      hello: async (params) => {
        const answer = await this.#hello(helloParams.parse(params))
        greeted.resolve()
        return answer
      },
      command: (params, context) => this.#command(params, context, peer),
    })
    // A hello that came before there was a peer is answered while it is made.
    if (this.#options.identity !== null)
      void greeted.promise.then(() => reportMachine(peer, () => this.#machine.read(this.#paths())))
    this.#peers.add(peer)
    return peer.closed.finally(() => this.#peers.delete(peer))
  }

  /** Resolves once nothing that changes the server is under way any more. */
  idle(): Promise<unknown> {
    return Promise.allSettled([...this.#turns.values(), this.commandsEnded()])
  }

  /** Whether something of what it keeps goes on in this process, and is to end with it. */
  get isBound(): boolean {
    return this.#services.isBound
  }

  /** Resolves once no command of a person runs any more; they end with their connection. */
  commandsEnded(): Promise<void> {
    return this.#person.ended()
  }

  /** Ends every service that this agent's process keepers keep, and before that whatever might start one. */
  async stopServices(): Promise<void> {
    this.#stop.abort(new DployError('deployment.cancelled', 'The agent stops, with its services'))
    await this.idle()
    await this.#services.stopAll()
  }

  async #hello({ nonce, introduction }: z.infer<typeof helloParams>) {
    if (this.#options.identity === null && introduction)
      this.#identity ??= { ...introduction, control: 'ssh', privateKey: '' }
    const identity = this.#who()
    const look = this.#options.identity === null ? introduction?.look : undefined
    return {
      protocol: protocolNumber,
      server: identity.server,
      signature:
        identity.privateKey === ''
          ? ''
          : signText(readPrivateKey(identity.privateKey), helloText(nonce, identity.server)),
      ...(identity.nextPrivateKey && {
        nextSignature: signText(readPrivateKey(identity.nextPrivateKey), helloText(nonce, identity.server)),
      }),
      version: this.#options.version,
      platform: `${process.platform}-${process.arch}`,
      instance: this.#instance,
      clock: Date.now(),
      ...(look && (await this.#look(look))),
      ...(this.#options.installed && {
        bundle: { digest: this.#options.installed.digest, trial: onTrial(this.#options.installed) },
      }),
      ...(this.#options.instanceId && { instanceId: this.#options.instanceId }),
    }
  }

  /** What this server keeps for a place and what there is, for who has not asked for it yet: nothing is started by that. Empty where it cannot be read, which whoever asks is told. */
  async #look(place: Place): Promise<{ held?: AgentResult<'hold'>; observed?: AgentResult<'observe'> }> {
    try {
      // In this order: who deploys in between has raised the fencing token.
      const held = this.#hold({ ...place, take: null, give: null, force: false, record: null })
      const kind = this.#directory(place.directory).currentSpec()?.service?.manager
      const seen =
        held.lock === null && (kind === undefined || this.#services.mayLook(kind))
          ? await this.#observe(place).catch(() => null)
          : null
      return { held, ...(seen && { observed: seen }) }
    } catch {
      return {}
    }
  }

  #hold(params: AgentParams<'hold'>): AgentResult<'hold'> {
    return holdShared(params, {
      directory: isLookOnly(params, this.#options.root) ? null : this.#directory(params.directory),
      journal: this.#options.journal,
      now: Date.now(),
    })
  }

  #who(): Identity {
    if (!this.#identity)
      throw new DployError('command.refused', 'The command is refused: nobody said which server this is')
    return this.#identity
  }

  async #command(params: unknown, context: CallContext, peer: Peer): Promise<unknown> {
    try {
      return await this.#obey(params, context, peer)
    } catch (error) {
      if (error instanceof DployError && error.code === 'command.refused') this.#options.log(error.message)
      throw this.#options.explain?.(error) ?? error
    }
  }

  /** Tells whoever is connected. A control plane from before there were notes refuses it, and the log has it all the same. */
  #tell({ application, environment }: { application: string; environment: string }, text: string): void {
    const [peer] = this.#peers
    void peer
      ?.call('note', { application, environment, text })
      .catch((error: unknown) => this.#options.log(`the control plane took no note: ${(error as Error).message}`))
  }

  async #obey(params: unknown, context: CallContext, peer: Peer): Promise<unknown> {
    const { journal } = this.#options
    const identity = this.#who()
    const command = admitCommand(params, context.body, {
      controlKey: identity.controlKey,
      server: identity.server,
      epoch: (application, environment) => journal.epoch(application, environment),
      raiseEpoch: (application, environment, epoch) => journal.raiseEpoch(application, environment, epoch),
      now: Date.now,
    })
    const { method } = command
    const parsed = agentMethods[method].params.safeParse(command.params)
    if (!parsed.success)
      throw new DployError(
        'protocol.invalid',
        `The parameters of ${method} are not valid: ${parsed.error.issues[0]?.path.join('.')} ${parsed.error.issues[0]?.message}`,
      )
    const changing = isChanging(method)
    if (changing && command.epoch <= 0)
      throw new DployError('command.refused', `The command is refused: ${method} needs a fencing token`)
    // What changes something goes on when the control plane is gone: the next one asks what came of it.
    const signal = changing ? AbortSignal.any([onlyCancelled(context.signal), this.#stop.signal]) : context.signal
    const call: Call = { ...context, signal, peer, step: (event) => void context.emit(event).catch(() => {}) }
    const handler = this.#methods[method] as (params: unknown, call: Call) => Promise<unknown>
    const handle = silent(handler, this.#environments.unsaid(parsed.data))
    if (changing) return this.#once(command, () => handle(parsed.data, call))
    const claim = () => {
      if (replayOf(method, parsed.data) === 'refused' && !journal.claim(command.id, method))
        throw new DployError('command.refused', `The command is refused: this ${method} came before`)
    }
    // That it came, and the lock that it takes or gives, are stored in one flush.
    if (method === 'hold') return journal.exclusively(() => (claim(), this.#hold(parsed.data as AgentParams<'hold'>)))
    claim()
    return handle(parsed.data, call)
  }

  /** Does a change once: a repeated command is answered with what came of the first, be it a failure, or joins it while it runs. */
  #once(command: CommandText, work: () => Promise<unknown>): Promise<unknown> {
    const running = this.#results.get(command.id)
    if (running) return running
    const { journal } = this.#options
    const place = `${command.application}/${command.environment}`
    const turn = (this.#turns.get(place) ?? Promise.resolve()).catch(() => {})
    const result = turn.then(async () => {
      this.#stop.signal.throwIfAborted()
      const past = journal.begin(command.id, command.method, place)
      if (past.state === 'done') return past.result
      if (past.state === 'failed') throw DployError.from(past.failure)
      if (past.state === 'superseded')
        throw new DployError(
          'command.refused',
          `The command is refused: this ${command.method} was cut off, and another change was begun since`,
        )
      // Staging and activating end in the same place however often they begin; a release command may not run twice.
      if (past.state === 'interrupted' && command.method === 'release_command')
        throw new DployError(
          'release.command_failed',
          'The release command was cut off in the middle, and is not run again',
        )
      try {
        const value = await work()
        journal.end(command.id, value)
        return value
      } catch (error) {
        // What ended because the connection or the agent did was cut off, and goes on when it is asked for again.
        const cut = this.#stop.signal.aborted || (error instanceof DployError && error.code === 'connection.closed')
        if (!cut) journal.fail(command.id, reportOf(this.#options.explain?.(error) ?? error))
        throw error
      }
    })
    this.#results.set(command.id, result)
    this.#turns.set(place, result)
    void result.catch(() => {}).finally(() => this.#results.delete(command.id))
    return result
  }

  readonly #methods: Methods = {
    observe: async (place) => this.#observe(place),

    stage: async ({ release, local, from }, call) => {
      const directory = this.#directory(release.directory)
      directory.mustNotBeForeign(release)
      if (handoverOf(release.service) !== 'port') await checkServicePorts(this.#context(release, local, call))
      const staged = await stageRelease({
        directory,
        spec: release,
        from,
        delta: call.body,
        signal: call.signal,
        fetchObjects: (wanted, sink, signal) => fetchObjects(call.peer, release.id, wanted, sink, signal),
        fetchManifest: (artifact, signal) => fetchManifest(call.peer, release.id, artifact, signal),
      })
      this.#environments.keep(release, local.secrets ?? {})
      tellChanged(release, staged.changed, call.step)
      if (!staged.already && release.hooks.after_stage) {
        const start = staged.spans.at(-1)?.end ?? 0
        const began = performance.now()
        await runHook(this.#whole(release, local, call), 'after_stage')
        staged.spans.push({ name: 'after_stage', start, end: start + performance.now() - began })
      }
      return staged
    },

    release_command: ({ release, local }, call) => runReleaseCommand(this.#whole(release, local, call)),

    boot: async ({ release, local, balancerSwitches }, call) => {
      this.#checkStaged(release)
      await makeAsShipped(this.#directory(release.directory), release, call)
      return bootRelease({ ...this.#whole(release, local, call), balancerSwitches })
    },

    retire: async ({ release, ...place }) => {
      await this.#keptOf(place)?.handover?.retire(release)
      return {}
    },

    activate: async ({ release, local, balancerSwitches = false, backToReplaced }, call) => {
      this.#checkStaged(release)
      await makeAsShipped(this.#directory(release.directory), release, call)
      const result = await activateRelease({ ...this.#whole(release, local, call), balancerSwitches, backToReplaced })
      const { ports } = this.#context(release, local, call)
      return { ...result, ...(handoverOf(release.service) === 'port' && ports[0] !== undefined && { port: ports[0] }) }
    },

    watch: ({ release, local, duration }, call) => watchRelease(this.#context(release, local, call), duration),

    check_health: ({ release, local, timeout }, call) => checkRelease(this.#context(release, local, call), timeout),

    collect: async ({ keep, protect, ...place }) => {
      if (!(await isQuiet(place, this.#options))) return { removedReleases: [], removedObjects: 0, freedBytes: 0 }
      const directory = this.#directory(place.directory)
      const collected = directory.collect(keep, protect)
      this.#environments.prune(
        place,
        directory.numbers().map((number) => directory.spec(number)!.id),
      )
      directory.prepareSpare()
      return collected
    },

    logs: async ({ lines, follow, since, grep, ...place }, call) => {
      const kept = this.#keptOf(place)
      if (!kept) return {}
      const outbox = new LogOutbox((line) => call.emit(line))
      await viewLogs(kept.manager, { lines, follow, since, grep, signal: call.signal }, (line) => outbox.add(line))
      return {}
    },

    exec: (params, call) => this.#person.exec(params, call),
    receive_file: (params, call) => this.#person.receiveFile(params, call),
    send_file: (params, call) => this.#person.sendFile(params, call),
    session: (params, call) => this.#person.session(params, call),
    diagnose: (params, call) => this.#person.diagnose(params, call),
    rotate_key: async ({ step }) => {
      const { identity, publicKey } = rotateKey(this.#options.stateDirectory, this.#who(), step)
      this.#identity = identity
      return { publicKey }
    },
    upgrade: async ({ step, digest, trialSeconds }, call) => this.#upgrade(step, digest, trialSeconds, call.body),
    hold: async (params) => this.#hold(params),
  }

  async #upgrade(
    step: 'take' | 'keep',
    digest: string,
    trialSeconds: number,
    body: Uint8Array,
  ): Promise<Record<string, never>> {
    const { installed, onUpgraded } = this.#options
    if (!installed || !onUpgraded)
      throw new DployError(
        'command.refused',
        'The command is refused: this agent was not installed by dploy, and is upgraded by who installed it',
      )
    if (step === 'keep') {
      await keepVersion(installed)
      return {}
    }
    if (this.#results.size > 0 || this.#person.busy) throw new DployError('agent.busy')
    await takeVersion(installed, body, digest, trialSeconds)
    // The answer goes out first.
    setTimeout(onUpgraded, 100)
    return {}
  }

  async #observe(place: Place): Promise<AgentResult<'observe'>> {
    const directory = this.#directory(place.directory)
    const kept = this.#keptOf(place)
    return {
      current: directory.foreign(place) === null ? directory.current() : null,
      releases: directory
        .numbers()
        .map((number) => directory.spec(number)!)
        .filter((spec) => !isForeign(spec, place))
        .map((spec) => ({
          number: spec.number,
          id: spec.id,
          artifact: spec.artifact,
          lacks: this.#environments.missing(spec),
        })),
      service: kept ? await observeService(kept) : { state: 'none', release: null, since: null, pids: [], restarts: 0 },
      freeBytes: directory.freeBytes(),
      machine: this.#machine.read([directory.path]),
    }
  }

  /** Where releases are, as far as it was asked about them. */
  #paths(): string[] {
    return this.#directories.size === 0 ? [this.#options.root] : [...this.#directories.values()].map(({ path }) => path)
  }

  #directory(path: string): ApplicationDirectory {
    let directory = this.#directories.get(path)
    // A person may have moved it away.
    if (!directory?.isThere)
      this.#directories.set(path, (directory = new ApplicationDirectory(this.#options.root, path)))
    return directory
  }

  /** For what starts something. Throws `secret.missing`. */
  #whole(...[spec, local, call]: [ReleaseSpec, Local, Call]): ReleaseContext {
    this.#environments.check(spec, local.secrets ?? {}, this.#who().name)
    return this.#context(spec, local, call)
  }

  #context(spec: ReleaseSpec, local: Local, call: Call): ReleaseContext {
    const identity = this.#who()
    const directory = this.#directory(spec.directory)
    const port = local.port ?? spec.service?.port
    const { manager, handover } = this.#services.of(spec, spec.service?.manager ?? 'auto')
    const secrets = { ...this.#environments.values(spec), ...local.secrets }
    this.#environments.keep(spec, secrets)
    const own = handoverOf(spec.service) === 'restart' ? null : (handover?.portsOf(spec.number) ?? null)
    return {
      directory,
      spec,
      manager,
      former: this.#services.formerOf(spec, spec.service ? manager.kind : null),
      handover,
      balancerSwitches: false,
      servicePort: port ?? null,
      env: {
        PATH: '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin',
        LANG: 'C.UTF-8',
        HOME: process.env.HOME ?? '/',
        DPLOY_APPLICATION: spec.application,
        DPLOY_ENVIRONMENT: spec.environment,
        DPLOY_SERVER: identity.name,
        DPLOY_RELEASE: String(spec.number),
        DPLOY_REVISION: spec.revision.commit ?? '',
        ...spec.variables,
        ...secrets,
      },
      ports:
        own ??
        (port === undefined || !spec.service
          ? []
          : Array.from({ length: spec.service.instances }, (_, index) => port + index)),
      signal: call.signal,
      emit: call.step,
    }
  }

  /** The manager that keeps what runs now; null if the current release has no service. */
  #keptOf(place: Place): Kept | null {
    const spec = this.#directory(place.directory).currentSpec()
    if (spec?.service == null || isForeign(spec, place)) return null
    return this.#services.of(spec, spec.service.manager)
  }

  #checkStaged(release: ReleaseSpec): void {
    if (!this.#directory(release.directory).numbers().includes(release.number))
      throw new DployError('release.unknown', `The release ${release.number} is not staged on this server`)
  }
}
