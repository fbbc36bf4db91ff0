import { execFile } from 'node:child_process'
import type { BalancerConfig } from '../../protocol/config/config.ts'
import { formatDuration } from '../../protocol/duration.ts'
import { DployError, type ErrorCode } from '../../protocol/errors.ts'
import type { Balancer, BalancerDriver, DrainOptions, RegisterOptions, ServerTraffic } from '../contract.ts'
import { lastLines, runOperatorCommand } from '../operator-command.ts'

/**
 * Any other balancer, by two command lines of the operator's. Each gets DPLOY_SERVER, DPLOY_ADDRESS and DPLOY_TIMEOUT
 * (seconds that it may wait: for requests in flight, or until the server is up), and has done it when it exits with 0.
 */
class Command implements Balancer {
  readonly kind = 'command'
  readonly capabilities = { countsInFlight: false, counts: false, drains: true, reloads: false }
  readonly #config: Extract<BalancerConfig, { kind: 'command' }>
  /** What was done with servers since this was opened; of others nothing is known. */
  readonly #done = new Map<string, ServerTraffic['admission']>()

  constructor(config: Extract<BalancerConfig, { kind: 'command' }>) {
    this.#config = config
  }

  async check(servers: readonly string[], signal: AbortSignal): Promise<void> {
    signal.throwIfAborted()
    for (const server of servers) this.#addressOf(server)
    await Promise.all((['drain', 'register'] as const).map((name) => this.#checkSyntax(name)))
  }

  async read(servers: readonly string[], signal: AbortSignal): Promise<ServerTraffic[]> {
    signal.throwIfAborted()
    for (const server of servers) this.#addressOf(server)
    return servers.flatMap((server) => {
      const admission = this.#done.get(server)
      return admission === undefined ? [] : [{ server, admission, up: admission === 'ready', inFlight: 0, check: null }]
    })
  }

  async drain(server: string, options: DrainOptions): Promise<{ inFlight: number }> {
    await this.#run('drain', server, options, 'balancer.refused')
    this.#done.set(server, 'out')
    return { inFlight: 0 }
  }

  async register(server: string, options: RegisterOptions): Promise<void> {
    await this.#run('register', server, options, 'balancer.not_up')
    this.#done.set(server, 'ready')
  }

  async counters(): Promise<null> {
    return null
  }

  async [Symbol.asyncDispose](): Promise<void> {}

  async #run(
    name: 'drain' | 'register',
    server: string,
    options: { timeout: number; signal: AbortSignal },
    code: ErrorCode,
  ): Promise<void> {
    const env = {
      DPLOY_SERVER: server,
      DPLOY_ADDRESS: this.#addressOf(server),
      DPLOY_TIMEOUT: String(Math.ceil(options.timeout / 1000)),
    }
    const { timeout } = this.#config
    let result: { failed: string | null; output: string }
    try {
      result = await runOperatorCommand({ command: this.#config[name], env, timeout, signal: options.signal })
    } catch (cause) {
      if (!(cause instanceof DployError) || cause.code !== 'command.timeout') throw cause
      throw new DployError(
        'command.timeout',
        `The ${name} command for ${server} did not end within ${formatDuration(timeout)} and was ended`,
        {
          where: server,
          fix: 'Let it wait no longer than DPLOY_TIMEOUT seconds, or raise balancer.timeout in dploy.yml',
          cause,
        },
      )
    }
    if (result.failed === null) return
    const said = lastLines(result.output)
    throw new DployError(
      code,
      `The ${name} command failed for ${server} (${result.failed})${said === '' ? '' : `: ${said}`}`,
      {
        where: server,
        fix: `Try it by hand: DPLOY_SERVER=${server} DPLOY_ADDRESS=${env.DPLOY_ADDRESS} DPLOY_TIMEOUT=${env.DPLOY_TIMEOUT}`,
      },
    )
  }

  #addressOf(server: string): string {
    const { servers } = this.#config
    if (Object.hasOwn(servers, server)) return servers[server]!
    const names = Object.keys(servers)
    if (names.length === 0) return server
    throw new DployError(
      'balancer.unknown_server',
      `balancer.servers has no address of ${server}; it has ${names.join(', ')}`,
      { where: 'balancer.servers', fix: `Add ${server} to balancer.servers in dploy.yml, or leave the key out` },
    )
  }

  async #checkSyntax(name: 'drain' | 'register'): Promise<void> {
    // -n: reads the commands and runs none.
    const problem = await new Promise<string | null>((resolve) =>
      execFile('/bin/sh', ['-n', '-c', this.#config[name]], (error, _out, err) => resolve(error ? err : null)),
    )
    if (problem !== null)
      throw new DployError('balancer.refused', `The ${name} command is no command line: ${problem.trim()}`, {
        where: `balancer.${name}`,
        fix: 'Correct it in dploy.yml',
      })
  }
}

export const commandDriver: BalancerDriver<'command'> = { kind: 'command', open: (config) => new Command(config) }
