import { connect } from 'node:net'
import type { ServiceState, Span, StepEvent } from '../protocol/agent-messages.ts'
import { runCommand } from '../protocol/command-line.ts'
import { Replaced } from './replaced.ts'
import { formatDuration } from '../protocol/duration.ts'
import { DployError } from '../protocol/errors.ts'
import { handoverOf, type ReleaseSpec } from '../protocol/release-spec.ts'
import type { ApplicationDirectory } from './application-directory.ts'
import { checkPorts } from './port-claims.ts'
import { userIds } from './user.ts'
import type { Handover, Incoming } from './handover/handover.ts'
import { findOldCode } from './handover/old-code.ts'
import { foreignListener, holderText } from './services/listener.ts'
import { waitHealthy, watchHealth, type HealthTarget } from './health.ts'
import type { ServiceManager, ServiceRelease } from './services/contract.ts'

export interface ReleaseContext {
  directory: ApplicationDirectory
  spec: ReleaseSpec
  manager: ServiceManager
  /** What kept this service before and is of another kind than `manager`; without a service, all that did. */
  former: readonly ServiceManager[]
  /** Null: the manager cannot keep releases beside each other. */
  handover: Handover | null
  /** The balancer is told where a release listens. */
  balancerSwitches: boolean
  /** Instead of the release, what served before the first one serves again. */
  backToReplaced?: boolean | undefined
  /** The environment of the release's processes and commands, without PORT. */
  env: Readonly<Record<string, string>>
  /** Where the release listens, or will. */
  ports: readonly number[]
  /** Where users, or the balancer, ask the service on this server. */
  servicePort: number | null
  signal: AbortSignal
  emit(event: StepEvent): void
}

/** How long what served before has to take connections again. Milliseconds. */
const backTimeout = 15_000

const noService: ServiceState = { state: 'none', release: null, since: null, pids: [], restarts: 0 }

/**
 * Makes a staged release the one that runs: hooks, switch, start, healthy. A release that runs already and is healthy
 * is left alone. When it fails, the server stays as it is then.
 */
export async function activateRelease(
  context: ReleaseContext,
): Promise<{ already: boolean; spans: Span[]; service: ServiceState }> {
  if (context.backToReplaced) return goBackToReplaced(context)
  const { directory, spec, emit } = context
  const replaced = new Replaced(directory.path, spec.service?.replaces ?? [])
  const backToZero = replaced.isBefore
  try {
    const result = await switchRelease(context, replaced)
    for (const unit of await replaced.retire(spec.number))
      emit({ kind: 'note', text: `${unit} is disabled: the release serves in its place` })
    return result
  } catch (error) {
    if (!backToZero) throw error
    await goBackToReplaced(context)
    throw error
  }
}

/** Nothing served before but release 0: it serves again, and nothing of the failure runs on. */
async function goBackToReplaced(
  context: ReleaseContext,
): Promise<{ already: boolean; spans: Span[]; service: ServiceState }> {
  const { directory, spec, manager, handover, emit } = context
  await handover?.forget()
  await manager.stop()
  const units = await new Replaced(directory.path, spec.service?.replaces ?? []).start()
  // What is started is not yet what answers.
  for (const end = performance.now() + backTimeout; units.length > 0 && performance.now() < end;) {
    if (context.servicePort === null || (await accepts(context.servicePort))) break
    await new Promise((resolve) => setTimeout(resolve, 20))
  }
  for (const unit of units) emit({ kind: 'note', text: `${unit} serves again` })
  return { already: false, spans: [], service: await manager.observe() }
}

async function switchRelease(
  context: ReleaseContext,
  replaced: Replaced,
): Promise<{ already: boolean; spans: Span[]; service: ServiceState }> {
  const { directory, spec, emit } = context
  const { spans, timed, began } = spansOf(context)
  if (await runsAlready(context)) return { already: true, spans, service: await observe(context) }
  if (spec.hooks.before_activate) await timed('before_activate', () => runHook(context, 'before_activate'))
  if (context.former.length > 0) await timed('stop', () => endFormer(context))
  for (const unit of await replaced.stop())
    emit({ kind: 'note', text: `${unit} is stopped: the release takes its place` })
  if (context.handover && handoverOf(spec.service) !== 'restart') {
    await context.handover.activate(incoming(context, timed), () => directory.switchTo(spec.number))
  } else if (spec.service) {
    await context.handover?.forget()
    const { killed } = await timed('switch', () =>
      context.manager.replace(serviceRelease(context), () => directory.switchTo(spec.number)),
    )
    if (killed)
      emit({
        kind: 'note',
        text: `the old processes did not end within ${spec.service!.stop.timeout} ms of ${spec.service!.stop.signal} and were killed`,
      })
    const booting = performance.now()
    emit({ kind: 'progress', phase: 'boot' })
    if (context.manager.kind === 'command' && context.ports.length > 0)
      emit({ kind: 'note', text: 'service.manager is command: nobody can know whose process answers on the port' })
    const { accepting } = await untilFailure(context, (exited) => waitHealthy(healthTarget(context, exited))).catch(
      (error: unknown) => {
        throw explained(error)
      },
    )
    spans.push(
      { name: 'boot', start: booting - began, end: accepting - began },
      { name: 'health', start: accepting - began, end: performance.now() - began },
    )
  } else {
    await timed('switch', async () => directory.switchTo(spec.number))
  }
  if (spec.hooks.after_activate) await timed('after_activate', () => runHook(context, 'after_activate'))
  return { already: false, spans, service: await observe(context) }
}

function accepts(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect({ host: '127.0.0.1', port })
    socket.once('connect', () => (socket.destroy(), resolve(true)))
    socket.once('error', () => resolve(false))
  })
}

/** Ends what another manager keeps of this service: it would hold the port, or take it at a later switch. */
async function endFormer({ former, handover }: ReleaseContext): Promise<void> {
  await handover?.forget()
  for (const manager of former) await manager.stop()
}

/** Throws `server.port_taken` where the service could not have its port: before anything is drained or switched. */
export async function checkServicePorts(context: ReleaseContext): Promise<void> {
  const { spec, ports, servicePort, manager, former, balancerSwitches } = context
  if (!spec.service || servicePort === null) return
  const handover = handoverOf(spec.service)
  // Behind a balancer that is told each release's port nobody needs the service's own.
  if (handover === 'port' && balancerSwitches) return
  await checkPorts(handover === 'restart' ? ports : [servicePort], manager, former, spec.service.replaces)
}

/** Starts a staged release beside the one that serves, and proves that it is healthy. When it fails nothing is left of it. */
export async function bootRelease(context: ReleaseContext): Promise<{ already: boolean; spans: Span[] }> {
  if (!context.handover || handoverOf(context.spec.service) === 'restart') return { already: true, spans: [] }
  await checkServicePorts(context)
  const { spans, timed } = spansOf(context)
  const { already } = await context.handover.boot(incoming(context, timed))
  return { already, spans }
}

/** Watches the running release until the time is up, or throws the moment that it ends or stops being healthy. */
export async function watchRelease(context: ReleaseContext, duration: number): Promise<{ checks: number }> {
  const { service } = context.spec
  if (!service) return { checks: 0 }
  await noteOldCode(context)
  using _notes = context.handover?.listen((text, ended) =>
    context.emit({ kind: 'note', text, ...(ended && { ended }) }),
  )
  return await untilFailure(context, (exited) => watchHealth(healthTarget(context, exited), duration))
}

/** Whether the running service becomes healthy, or is, within `timeout` milliseconds. */
export async function checkRelease(
  context: ReleaseContext,
  timeout: number,
): Promise<{ healthy: boolean; detail: string }> {
  if (!context.spec.service) return { healthy: true, detail: 'it has no service' }
  try {
    await untilFailure(context, (exited) => {
      const target = healthTarget(context, exited)
      return waitHealthy({ ...target, health: { ...target.health, timeout, successes: 1 } })
    })
    return { healthy: true, detail: 'healthy' }
  } catch (error) {
    context.signal.throwIfAborted()
    return { healthy: false, detail: (error as Error).message }
  }
}

/** Runs a hook of the release in its directory. Throws `hook.failed` with the end of what it printed. */
export async function runHook(
  context: ReleaseContext,
  name: 'after_stage' | 'before_activate' | 'after_activate',
): Promise<void> {
  const hook = context.spec.hooks[name]
  if (!hook) return
  const { code, ended, printed } = await runInRelease(context, name, hook)
  if (code !== 0) throw new DployError('hook.failed', `The hook ${name} ${ended}${printed}`)
}

/** Runs the release command. Throws `release.command_failed` with the end of what it printed. */
export async function runReleaseCommand(context: ReleaseContext): Promise<{ seconds: number }> {
  const command = context.spec.release_command
  if (!command) return { seconds: 0 }
  const { code, ms, ended, printed } = await runInRelease(context, 'release_command', command)
  if (code !== 0) throw new DployError('release.command_failed', `The release command ${ended}${printed}`)
  return { seconds: ms / 1000 }
}

/** What was done, and when: milliseconds since now. */
function spansOf(context: ReleaseContext) {
  const spans: Span[] = []
  const began = performance.now()
  const timed = async <T>(name: string, work: () => Promise<T>): Promise<T> => {
    const start = performance.now() - began
    context.emit({ kind: 'progress', phase: name })
    try {
      return await work()
    } finally {
      spans.push({ name, start, end: performance.now() - began })
    }
  }
  return { spans, timed, began }
}

function incoming(context: ReleaseContext, span: Incoming['span']): Incoming {
  const { spec, directory, env, signal, balancerSwitches } = context
  const release = (ports: readonly number[]): ServiceRelease => ({
    number: spec.number,
    path: directory.releasePath(spec.number),
    service: spec.service!,
    env,
    ports,
  })
  const health = (ports: readonly number[], exited: Promise<never>) => healthTarget({ ...context, ports }, exited)
  return { spec, port: context.servicePort!, release, health, balancerSwitches, signal, span }
}

/** Says which processes still run another release and are not the service's own: they would run on unnoticed. */
async function noteOldCode(context: ReleaseContext): Promise<void> {
  const { directory, spec, handover, emit } = context
  const known = (await handover?.pids().catch(() => null)) ?? new Set()
  const old = findOldCode(directory.path, spec.number, known)
  for (const { pid, release, what, command } of old.slice(0, 5))
    emit({ kind: 'note', text: `process ${pid} still runs release ${release} (its ${what}): ${command}` })
  if (old.length > 5) emit({ kind: 'note', text: `${old.length - 5} more processes still run an older release` })
}

async function runsAlready(context: ReleaseContext): Promise<boolean> {
  const { directory, spec } = context
  if (directory.current() !== spec.number) return false
  if (!spec.service) return true
  const seen = await context.manager.observe()
  if (seen.state !== 'running' || seen.release !== spec.number) return false
  if (handoverOf(spec.service) !== 'restart' && context.handover && !context.handover.serves(spec.number)) return false
  try {
    await untilFailure(context, (exited) => waitHealthy(healthTarget(context, exited)))
    return true
  } catch {
    context.signal.throwIfAborted()
    return false
  }
}

function healthTarget(context: ReleaseContext, exited: Promise<never>): HealthTarget {
  const { spec, ports, signal } = context
  return {
    health: spec.service!.health,
    ports,
    signal,
    exited,
    waiting: (text) => context.emit({ kind: 'note', text }),
    async stranger(port) {
      const own = await context.manager.processes()
      const holder = own === null ? null : foreignListener(port, own)
      return holder === null ? null : holderText(holder)
    },
    async run(command, port, timeout, until) {
      let tail = ''
      const { code } = await runCommand({
        command,
        cwd: context.directory.releasePath(spec.number),
        env: { ...context.env, ...(port === null ? {} : { PORT: String(port) }) },
        ids: spec.service!.user === undefined ? undefined : userIds(spec.service!.user),
        timeout,
        signal: until,
        onOutput: (_stream, text) => (tail = (tail + text).slice(-500)),
      })
      return { code, printed: tail.trimEnd().split('\n').at(-1) ?? '' }
    },
  }
}

async function observe(context: ReleaseContext): Promise<ServiceState> {
  if (!context.spec.service) return noService
  const service = await context.manager.observe()
  return context.handover ? context.handover.describe(service) : service
}

/** Does something for as long as the service does not end by itself. */
async function untilFailure<T>(context: ReleaseContext, work: (exited: Promise<never>) => Promise<T>): Promise<T> {
  const stop = new AbortController()
  const exited = context.manager.exited(AbortSignal.any([context.signal, stop.signal]))
  exited.catch(() => {})
  try {
    return await work(exited)
  } finally {
    stop.abort(new DployError('deployment.cancelled', 'No longer looked at'))
  }
}

/** What ends most services that end at once is the port, which the former process left a moment ago. */
function explained(error: unknown): unknown {
  if (
    !(error instanceof DployError) ||
    error.code !== 'service.exited' ||
    !/EADDRINUSE|address already in use/i.test(error.message)
  )
    return error
  return new DployError('service.exited', error.message, {
    fix: 'Find who has the port (there: ss -ltnp). If it is nobody, the application binds without SO_REUSEADDR and cannot restart within a minute: set it (Python: allow_reuse_address = True)',
    cause: error,
  })
}

function serviceRelease(context: ReleaseContext): ServiceRelease {
  const { spec, directory, env, ports } = context
  return { number: spec.number, path: directory.releasePath(spec.number), service: spec.service!, env, ports }
}

async function runInRelease(
  context: ReleaseContext,
  source: string,
  hook: { command: string; timeout: number },
): Promise<{ code: number | null; ms: number; ended: string; printed: string }> {
  let tail = ''
  const port: Record<string, string> = context.ports[0] === undefined ? {} : { PORT: String(context.ports[0]) }
  const { code, ms } = await runCommand({
    command: hook.command,
    cwd: context.directory.releasePath(context.spec.number),
    env: { ...context.env, ...port },
    ids: context.spec.service?.user === undefined ? undefined : userIds(context.spec.service.user),
    timeout: hook.timeout,
    signal: context.signal,
    onOutput: (stream, text) => {
      tail = (tail + text).slice(-2_000)
      context.emit({ kind: 'output', source, stream, text })
    },
  })
  const lines = tail.trimEnd().split('\n').slice(-10).join('\n')
  const ended =
    code !== null
      ? `ended with code ${code}`
      : ms >= hook.timeout
        ? `did not end within ${formatDuration(hook.timeout)} and was ended, with all that it had started`
        : 'was ended by a signal'
  return { code, ms, ended, printed: lines === '' ? '' : `. It printed last:\n${lines}` }
}
