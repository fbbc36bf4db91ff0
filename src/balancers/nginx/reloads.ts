import { readFile, realpath } from 'node:fs/promises'
import type { BalancerConfig } from '../../protocol/config/config.ts'
import { formatDuration } from '../../protocol/duration.ts'
import { DployError } from '../../protocol/errors.ts'
import { Changes } from '../changes.ts'
import { lastLines, runOperatorCommand } from '../operator-command.ts'
import { isMaster, workersOf } from './processes.ts'
import type { Upstream } from './upstream.ts'

/** Between two looks at the workers. Milliseconds. */
const lookEvery = 10
/** How long testing or reloading may take. Milliseconds. */
const commandTimeout = 30_000

/** Brings changes into nginx: what is asked for at the same time, by one reload. */
export class Reloads {
  readonly #config: Extract<BalancerConfig, { kind: 'nginx' }>
  readonly #upstream: Upstream
  readonly #changes: Changes

  constructor(config: Extract<BalancerConfig, { kind: 'nginx' }>, upstream: Upstream) {
    this.#config = config
    this.#upstream = upstream
    this.#changes = new Changes(config.pid_file, (changes) => this.#bringIn(changes))
  }

  /** Resolves when new workers have the change and the old ones take nothing new. Throws `balancer.refused`; the file is then as before. */
  async apply(server: string, down: boolean, signal: AbortSignal): Promise<void> {
    await this.#changes.apply(server, down, signal)
  }

  /** Resolves when nothing is under way. */
  async idle(): Promise<void> {
    await this.#changes.idle()
  }

  /** The process id of nginx. Throws `balancer.unreachable`. */
  async master(): Promise<number> {
    const path = this.#config.pid_file
    const fix =
      'Start nginx, or check balancer.pid_file in dploy.yml; the driver nginx works on the machine where nginx runs'
    const text = await readFile(path, 'utf8').catch((cause: unknown) => {
      throw new DployError('balancer.unreachable', `nginx does not run: its pid file ${path} cannot be read`, {
        where: path,
        fix,
        cause,
      })
    })
    const pid = Number(text.trim())
    if (!(await isMaster(pid)))
      throw new DployError(
        'balancer.unreachable',
        `nginx does not run: process ${text.trim()} of ${path} is no master of nginx`,
        { where: path, fix },
      )
    return pid
  }

  /** Throws `balancer.config_broken` when the configuration does not pass, `balancer.refused` when it does not have the upstream file in it. */
  async test(signal: AbortSignal): Promise<void> {
    const { failed, output } = await runOperatorCommand({ command: this.#config.test, timeout: commandTimeout, signal })
    if (failed !== null)
      throw new DployError(
        'balancer.config_broken',
        `The configuration of nginx does not pass "${this.#config.test}" (${failed}): ${lastLines(output)}`,
        { where: this.#upstream.path },
      )
    const files = [...output.matchAll(/^# configuration file (.+):$/gm)].map((match) => match[1]!)
    if (files.length === 0) return
    const real = await Promise.all([this.#upstream.path, ...files].map((path) => realpath(path).catch(() => path)))
    if (!real.slice(1).includes(real[0]!))
      throw this.#refused(
        `nginx does not read ${this.#upstream.path}; it reads ${files.join(', ')}`,
        'Include the file in the configuration of nginx, or correct balancer.upstream_file in dploy.yml',
      )
  }

  async #bringIn(changes: ReadonlyMap<string, boolean>): Promise<void> {
    const before = await this.#upstream.read()
    const text = this.#upstream.changed(before, changes)
    if (text !== before.text) await this.#upstream.write(text)
    try {
      // What was decided is brought to its end, whoever stops waiting for it: the file and nginx must not differ.
      const { signal } = new AbortController()
      await this.test(signal)
      await this.#reload(signal)
    } catch (error) {
      if (text !== before.text && (await this.#upstream.read()).text === text) await this.#upstream.write(before.text)
      throw error
    }
  }

  /**
   * `nginx -s reload` answers before anything has happened, and also when nginx then goes on with its old configuration,
   * because only the running one can tell that it does not work. So its workers are looked at.
   */
  async #reload(signal: AbortSignal): Promise<void> {
    const master = await this.master()
    const old = new Set((await workersOf(master)).filter((worker) => !worker.shuttingDown).map((worker) => worker.id))
    const { failed, output } = await runOperatorCommand({
      command: this.#config.reload,
      timeout: commandTimeout,
      signal,
    })
    if (failed !== null)
      throw this.#refused(
        `"${this.#config.reload}" failed (${failed}): ${lastLines(output)}`,
        'Try it as the user that runs the control plane',
      )
    const end = performance.now() + this.#config.reload_timeout
    for (;;) {
      const serving = (await workersOf(master)).filter((worker) => !worker.shuttingDown)
      if (serving.length > 0 && serving.every((worker) => !old.has(worker.id))) return
      if (performance.now() > end) break
      await new Promise((resolve) => setTimeout(resolve, lookEvery))
    }
    throw this.#refused(
      `nginx has not started new workers ${formatDuration(this.#config.reload_timeout)} after "${this.#config.reload}": it goes on with its old configuration`,
      'Read its error log. Some changes pass the test and still need a restart of nginx (another key of a limit_req_zone, a port that is taken): undo them or restart it, then deploy again',
    )
  }

  #refused(message: string, fix: string): DployError {
    return new DployError('balancer.refused', message, { where: this.#upstream.path, fix })
  }
}
