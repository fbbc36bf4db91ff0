import { stringify } from 'yaml'
import type { BalancerConfig, Config, ConfigInput } from '../../protocol/config/config.ts'
import { DployError } from '../../protocol/errors.ts'

/**
 * The application's dploy.yml with one environment, `demo`, in place of its own: the demo's servers and balancer. What
 * the application says of its build, service, hooks and strategy stays. Written as a dploy.yml, which durations as
 * milliseconds are not: they become text.
 */
export function demoConfig(
  config: Config,
  demo: { servers: { name: string; port: number }[]; balancer: BalancerConfig; probe: string; repository: string },
): ConfigInput {
  if (!config.service?.port) {
    throw new DployError('config.invalid', 'The demo needs an application with a service and a port', {
      where: 'service.port',
      fix: 'Add service: with command and port to dploy.yml',
    })
  }
  const first = Object.values(config.environments)[0]!
  const { build } = config
  // Its servers share one machine, where ports of releases would be in each other's way.
  const { release_ports: _, ...service } = config.service
  return {
    application: config.application,
    source: {
      repository: demo.repository,
      ...(config.source.subfolder === undefined ? {} : { subfolder: config.source.subfolder }),
    },
    build: { ...build, timeout: ms(build.timeout) },
    release: config.release,
    service: {
      ...service,
      manager: service.manager === 'command' ? 'command' : 'process',
      handover: service.handover === 'socket' && service.manager !== 'command' ? 'socket' : 'restart',
      keep_warm: ms(service.keep_warm),
      stop: { ...service.stop, timeout: ms(service.stop.timeout) },
      health: {
        ...service.health,
        timeout: ms(service.health.timeout),
        answer_within: ms(service.health.answer_within),
        interval: ms(service.health.interval),
      },
    },
    hooks: Object.fromEntries(
      Object.entries(config.hooks)
        .filter(([, hook]) => hook !== undefined)
        .map(([name, hook]) => [name, { command: hook!.command, timeout: ms(hook!.timeout) }]),
    ),
    ...(config.release_command
      ? { release_command: { ...config.release_command, timeout: ms(config.release_command.timeout) } }
      : {}),
    variables: config.variables,
    environments: {
      demo: {
        // So that there is something to group and to choose by.
        servers: demo.servers.map((server, index) => ({ ...server, tags: { zone: index % 2 === 0 ? 'a' : 'b' } })),
        balancer: demo.balancer,
        probe: { url: new URL(service.health.path, demo.probe).href, interval: '10ms' },
        strategy: {
          ...first.strategy,
          // The demo's servers have no tags, its balancer knows no weights, and nobody's Prometheus knows them.
          kind: first.strategy.kind === 'blue-green' ? 'rolling' : first.strategy.kind,
          groups: undefined,
          traffic: undefined,
          prometheus: undefined,
          judge: ms(first.strategy.judge),
          pause_limit: ms(first.strategy.pause_limit),
          bake: ms(Math.min(first.strategy.bake, 2_000)),
          bake_batch: ms(Math.min(first.strategy.bake_batch, 2_000)),
          bake_group: ms(Math.min(first.strategy.bake_group, 2_000)),
        },
        variables: first.variables,
      },
    },
  }
}

/** The text of a dploy.yml, as the settings page shows it: in lines, without lists that are empty, as they are by default. */
export function demoText(config: ConfigInput): string {
  return stringify(config, (_, value: unknown) => (isEmpty(value) ? undefined : value), {
    lineWidth: 0,
    aliasDuplicateObjects: false,
  })
}

function isEmpty(value: unknown): boolean {
  return typeof value === 'object' && value !== null && Object.keys(value).length === 0
}

/** In the largest unit in which it is whole: `15m`. */
function ms(value: number): string {
  const [size, unit] = (
    [
      [3_600_000, 'h'],
      [60_000, 'm'],
      [1_000, 's'],
    ] as const
  ).find(([one]) => value >= one && value % one === 0) ?? [1, 'ms']
  return `${value / size}${unit}`
}
