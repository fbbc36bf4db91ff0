import { mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import * as z from 'zod'
import type { ServiceState } from '../../protocol/agent-messages.ts'
import { DployError } from '../../protocol/errors.ts'
import { serviceSpecSchema } from '../../protocol/release-spec.ts'
import { runCommand } from '../../protocol/command-line.ts'
import type { LogLine, ServiceManager, ServicePlace, ServiceRelease } from './contract.ts'

/** How long the person's own status and log commands may take. Milliseconds. */
const askTimeout = 10_000
/** How often the status command is asked while a service is watched. Milliseconds. */
const lookEvery = 1_000

const storedSchema = z.object({
  release: z.number(),
  env: z.record(z.string(), z.string()),
  service: serviceSpecSchema,
  ports: z.array(z.number()),
})

/** Leaves the processes to the person's own commands: `restart`, and where given `status` and `logs`. */
export class CommandManager implements ServiceManager {
  readonly kind = 'command'
  readonly beside = null
  readonly #place: ServicePlace

  constructor(place: ServicePlace) {
    this.#place = place
    mkdirSync(place.stateDirectory, { recursive: true, mode: 0o700 })
  }

  async replace(release: ServiceRelease, flip: () => void): Promise<{ killed: boolean }> {
    flip()
    const { service, env, ports, number } = release
    const output: string[] = []
    const stored = { release: number, env: { ...env }, service, ports: [...ports] }
    const { code } = await this.#run(
      service.restart!,
      stored,
      service.stop.timeout + service.health.timeout,
      AbortSignal.timeout(service.stop.timeout + service.health.timeout),
      (text) => output.push(text),
    )
    if (code !== 0)
      throw new DployError(
        'server.activate_failed',
        `service.restart ended with code ${code ?? 'none'}:\n${output.join('').trimEnd().slice(-2_000)}`,
        { fix: 'Run the command on the server by hand' },
      )
    writeFileSync(this.#file, JSON.stringify(stored), { mode: 0o600 })
    return { killed: false }
  }

  async ensure(): Promise<void> {}

  /** There is no command of the person's that only stops. */
  async stop(): Promise<void> {}

  async observe(): Promise<ServiceState> {
    const stored = this.#stored()
    if (!stored) return { state: 'stopped', release: null, since: null, pids: [], restarts: 0 }
    if (stored.service.status === undefined)
      return { state: 'unknown', release: null, since: null, pids: [], restarts: 0 }
    const { code } = await this.#run(
      stored.service.status,
      stored,
      askTimeout,
      AbortSignal.timeout(askTimeout),
      () => {},
    )
    return {
      state: code === 0 ? 'running' : 'stopped',
      release: code === 0 ? stored.release : null,
      since: null,
      pids: [],
      restarts: 0,
    }
  }

  /** The person's commands start them. */
  async processes(): Promise<null> {
    return null
  }

  async exited(signal: AbortSignal): Promise<never> {
    for (;;) {
      if ((await this.observe()).state === 'stopped')
        throw new DployError('service.exited', 'service.status says that the service does not run')
      await delay(lookEvery, undefined, { signal })
    }
  }

  async logs(
    options: { lines: number; follow: boolean; signal: AbortSignal },
    onLine: (line: LogLine) => void,
  ): Promise<void> {
    const stored = this.#stored()
    if (!stored) return
    if (stored.service.logs === undefined) {
      onLine({
        at: null,
        text: '(dploy) service.logs is not set in dploy.yml: dploy does not know where this service logs to',
      })
      return
    }
    let rest = ''
    await this.#run(
      stored.service.logs,
      {
        ...stored,
        env: { ...stored.env, DPLOY_LOG_LINES: String(options.lines), DPLOY_LOG_FOLLOW: options.follow ? '1' : '' },
      },
      options.follow ? 2 ** 31 - 1 : askTimeout,
      options.signal,
      (text) => {
        const parts = (rest + text).split('\n')
        rest = parts.pop()!
        for (const line of parts) onLine({ at: null, text: line })
      },
    )
    if (rest !== '') onLine({ at: null, text: rest })
  }

  get #file(): string {
    return join(this.#place.stateDirectory, 'command.json')
  }

  #stored(): z.infer<typeof storedSchema> | null {
    try {
      return storedSchema.parse(JSON.parse(readFileSync(this.#file, 'utf8')))
    } catch {
      return null
    }
  }

  #run(
    command: string,
    stored: z.infer<typeof storedSchema>,
    timeout: number,
    signal: AbortSignal,
    onText: (text: string) => void,
  ) {
    const port: Record<string, string> = stored.ports[0] === undefined ? {} : { PORT: String(stored.ports[0]) }
    return runCommand({
      command,
      cwd: join(this.#place.directory, 'current'),
      env: { ...stored.env, ...port },
      timeout,
      signal,
      onOutput: (_stream, text) => onText(text),
    })
  }
}
