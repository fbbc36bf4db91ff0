import {
  releaseDirectory,
  type BalancerConfig,
  type Config,
  type EnvironmentConfig,
  type ServerConfig,
  type ServiceConfig,
} from './config.ts'
import { formatPath } from './problem.ts'
import type { Path } from './schema.ts'

/** What each value by itself cannot tell. An error makes the file invalid; a warning says what will likely surprise. */
export interface ConfigFinding {
  level: 'error' | 'warning'
  path: Path
  message: string
}

/** The warnings about a configuration, each with its place: `service: …`. Errors were thrown when it was read. */
export function checkConfig(config: Config): string[] {
  return findingsOf(config)
    .filter((finding) => finding.level === 'warning')
    .map((finding) => `${formatPath(finding.path)}: ${finding.message}`)
}

/** Everything that the parts of a configuration say about each other. Pure. */
export function findingsOf(config: Config): ConfigFinding[] {
  const environments = Object.entries(config.environments)
  return [
    ...checkRelease(config),
    ...checkService(config),
    ...environments.flatMap(([name, environment]) => checkEnvironment(config, name, environment)),
    ...checkSharedServers(config),
  ]
}

const systemDirectories = new Set([
  '/',
  '/bin',
  '/boot',
  '/dev',
  '/etc',
  '/home',
  '/lib',
  '/lib64',
  '/opt',
  '/proc',
  '/root',
  '/run',
  '/sbin',
  '/srv',
  '/sys',
  '/tmp',
  '/usr',
  '/usr/bin',
  '/usr/lib',
  '/usr/local',
  '/var',
  '/var/lib',
  '/var/www',
])

function checkRelease(config: Config): ConfigFinding[] {
  const { shared, writable } = config.release
  const findings: ConfigFinding[] = []
  const own = Object.entries(config.environments).map(([name, environment]): [Path, string | undefined] => [
    ['environments', name, 'directory'],
    environment.directory,
  ])
  for (const [path, directory] of [
    [['release', 'directory'], config.release.directory] as [Path, string | undefined],
    ...own,
  ]) {
    if (directory === undefined || !systemDirectories.has(directory)) continue
    findings.push(
      error(
        path,
        `${directory} belongs to the system; use a directory of its own, such as ${directory === '/' ? '' : directory}/${config.application}`,
      ),
    )
  }
  for (const [key, paths, what] of [
    ['shared', shared, 'outlive a release'],
    ['writable', writable, 'the service may write to'],
  ] as const)
    paths.forEach((path, index) => {
      if (path === '.')
        findings.push(
          error(['release', key, index], `the whole release cannot be ${key}; name the paths in it that ${what}`),
        )
      const around = paths.findIndex(
        (other, at) => at !== index && (path.startsWith(`${other}/`) || (path === other && at < index)),
      )
      if (around < 0) return
      findings.push(
        error(
          ['release', key, index],
          path === paths[around]
            ? `"${path}" stands twice`
            : `"${path}" lies in "${paths[around]}", which is ${key} as a whole`,
        ),
      )
    })
  writable.forEach((path, index) => {
    const other = shared.find((one) => path === one || path.startsWith(`${one}/`) || one.startsWith(`${path}/`))
    if (other !== undefined)
      findings.push(
        error(
          ['release', 'writable', index],
          `"${path}" and "${other}" of release.shared lie in each other: what is shared is writable already`,
        ),
      )
  })
  config.build.ship?.forEach((path, index) => {
    const inside = shared.find((one) => path === one || path.startsWith(`${one}/`))
    if (inside !== undefined)
      findings.push(
        warning(
          ['build', 'ship', index],
          `"${path}" is shipped, but release.shared puts a link over "${inside}": what is shipped there is not seen`,
        ),
      )
  })
  return findings
}

function checkService(config: Config): ConfigFinding[] {
  const service = config.service
  if (service === undefined) return config.hooks.after_activate ? [] : filesOnly(config)
  const findings: ConfigFinding[] = []
  if (service.manager === 'command') {
    if (service.command !== undefined)
      findings.push(
        warning(['service', 'command'], 'is not used: with manager "command" your own program starts the service'),
      )
    if (service.instances > 1)
      findings.push(
        warning(['service', 'instances'], 'is not used: with manager "command" your own program starts the processes'),
      )
  } else {
    for (const key of ['restart', 'status', 'logs'] as const) {
      if (service[key] !== undefined)
        findings.push(
          warning(
            ['service', key],
            `is not used: it is for manager "command", and the manager is "${service.manager}"`,
          ),
        )
    }
  }
  if (service.port !== undefined && service.health.kind === 'tcp' && asksForHealth(service))
    findings.push(
      warning(
        ['service', 'health'],
        'asks for nothing of an answer: its kind is tcp. Leave out kind, or path, status, host, body and header',
      ),
    )
  if (service.port === undefined) {
    if (asksForHealth(service))
      findings.push(warning(['service', 'health'], 'is not asked: the service has no port. Add service.port'))
    if (service.instances > 1 && service.manager !== 'command')
      findings.push(
        warning(
          ['service', 'instances'],
          'all get the same environment: without service.port they have no PORT of their own',
        ),
      )
  }
  const places: [Path, Record<string, string>][] = [[['variables'], config.variables]]
  for (const [name, environment] of Object.entries(config.environments))
    places.push([['environments', name, 'variables'], environment.variables])
  if (service.port !== undefined) {
    for (const [path, variables] of places)
      if (Object.hasOwn(variables, 'PORT'))
        findings.push(warning([...path, 'PORT'], 'is not used: the service gets service.port as PORT'))
  }
  return findings
}

function filesOnly(config: Config): ConfigFinding[] {
  const withBalancer = Object.entries(config.environments).filter(
    ([, environment]) => environment.balancer.kind !== 'none',
  )
  return withBalancer.map(([name]) =>
    warning(
      ['environments', name, 'balancer'],
      'takes servers out of traffic although no service restarts; without a service, files switch in an instant',
    ),
  )
}

function asksForHealth(service: ServiceConfig): boolean {
  const { path, status, host, body, header } = service.health
  return (
    path !== '/' || status !== undefined || host !== undefined || body !== undefined || Object.keys(header).length > 0
  )
}

function checkEnvironment(config: Config, name: string, environment: EnvironmentConfig): ConfigFinding[] {
  const at = (...rest: (string | number)[]): Path => ['environments', name, ...rest]
  const findings: ConfigFinding[] = []
  const { servers, balancer, strategy } = environment
  const drains = balancer.kind !== 'none'
  if (servers.length === 0) findings.push(warning(at(), 'has no servers yet: nothing can be deployed to it'))
  servers.forEach((server, index) => {
    if (hostOf(server).endsWith('.example.com'))
      findings.push(warning(at('servers', index), `${hostOf(server)} is an example; write the address of your server`))
  })
  if (
    drains &&
    config.service !== undefined &&
    config.service.port === undefined &&
    servers.some((server) => server.port === undefined)
  ) {
    findings.push(
      warning(
        at('balancer'),
        'sends traffic to a service without a port; add service.port, so that dploy can tell whether it is healthy',
      ),
    )
  }
  if (environment.probe !== undefined && !drains) {
    findings.push(
      warning(
        at('probe'),
        'is asked while servers switch, but no balancer takes them out of traffic: expect failed requests in the receipt',
      ),
    )
  }
  if (drains && environment.probe === undefined) {
    findings.push(
      warning(
        at(),
        'has a balancer but no probe: without an address to ask, the receipt cannot prove that nobody noticed',
      ),
    )
  }
  if (balancer.kind === 'aws') findings.push(...checkAws(balancer, servers, at('balancer')))
  if (servers.length > 0 && strategy.max_failures >= servers.length) {
    findings.push(
      warning(
        at('strategy', 'max_failures'),
        `is ${strategy.max_failures} of ${servers.length} servers: a release that runs nowhere would not be rolled back`,
      ),
    )
  }
  servers.forEach((server, index) => {
    const last = (server.port ?? 0) + (config.service?.instances ?? 1) - 1
    if (server.port !== undefined && last > 65_535)
      findings.push(
        error(
          at('servers', index, 'port'),
          `${config.service?.instances} instances need the ports up to ${last}; the last port is 65535`,
        ),
      )
  })
  return findings
}

function checkAws(
  balancer: Extract<BalancerConfig, { kind: 'aws' }>,
  servers: readonly ServerConfig[],
  path: Path,
): ConfigFinding[] {
  const findings: ConfigFinding[] = []
  const groups = balancer.target_groups ?? []
  if (groups.length === 0 && balancer.classic === undefined)
    findings.push(error(path, 'needs the key "target_groups" or "classic": what the servers stand in'))
  const region = balancer.region ?? groups[0]?.split(':')[3]
  const elsewhere = groups.find((arn) => arn.split(':')[3] !== region)
  if (elsewhere !== undefined)
    findings.push(
      error(
        [...path, 'target_groups'],
        `are in ${region} and in ${elsewhere.split(':')[3]}: one environment has one region`,
      ),
    )
  for (const name of Object.keys(balancer.targets)) {
    if (!servers.some((server) => server.name === name))
      findings.push(warning([...path, 'targets', name], `is not used: there is no server "${name}" here`))
  }
  return findings
}

interface Place {
  environment: string
  index: number
  server: ServerConfig
  first: number | undefined
  last: number | undefined
  directory: string
}

/** One machine that stands twice: two releases would take turns on one port, or in one directory. */
function checkSharedServers(config: Config): ConfigFinding[] {
  const findings: ConfigFinding[] = []
  const byHost = new Map<string, Place[]>()
  for (const [environment, { servers }] of Object.entries(config.environments)) {
    servers.forEach((server, index) => {
      const first = server.port ?? config.service?.port
      const place: Place = {
        environment,
        index,
        server,
        first,
        last: first === undefined ? undefined : first + (config.service?.instances ?? 1) - 1,
        directory: releaseDirectory(config, environment),
      }
      const host = hostOf(server)
      const others = byHost.get(host) ?? []
      if (others.length === 0) byHost.set(host, others)
      const loopback = isLoopback(host)
      const clash =
        others.find((one) => portsOverlap(one, place)) ??
        (loopback ? undefined : others.find((one) => isOneDirectory(one.directory, place.directory)))
      if (clash !== undefined) findings.push(sameMachine(host, place, clash, loopback))
      others.push(place)
    })
  }
  return findings
}

function sameMachine(host: string, place: Place, other: Place, loopback: boolean): ConfigFinding {
  const { environment, index, first, directory } = place
  const port = portsOverlap(place, other)
  const sameDirectory = !loopback && isOneDirectory(directory, other.directory)
  const what = [
    ...(port ? [`port ${first}`] : []),
    ...(sameDirectory
      ? [`the directory ${directory.length < other.directory.length ? directory : other.directory}`]
      : []),
  ].join(', and ')
  const own = [
    ...(port ? ['a port of its own'] : []),
    ...(sameDirectory && environment !== other.environment
      ? [`a directory of its own (environments.${environment}.directory, such as ${other.directory}-${environment})`]
      : []),
  ].join(' and ')
  return error(
    ['environments', environment, 'servers', index],
    `is the same machine as "${other.server.name}" of ${other.environment} (${host}): both would use ${what}. Name another machine${own === '' ? '' : `, or give it ${own}`}`,
  )
}

/** On one's own machine several agents, each with its own directory, are how one tries things out. */
function isLoopback(host: string): boolean {
  return host === 'localhost' || host === '::1' || host.startsWith('127.')
}

/** The same, or one in the other. */
function isOneDirectory(a: string, b: string): boolean {
  return a === b || a.startsWith(`${b}/`) || b.startsWith(`${a}/`)
}

function portsOverlap(a: Place, b: Place): boolean {
  return a.first !== undefined && b.first !== undefined && a.first <= b.last! && b.first <= a.last!
}

/** The machine of an address: without user and ssh port. */
function hostOf(server: ServerConfig): string {
  const address = (server.address ?? server.name).replace(/^.*@/, '')
  const bracketed = /^\[([^\]]+)\]/.exec(address)
  if (bracketed) return bracketed[1]!.toLowerCase()
  return (/^[^:]+:\d+$/.test(address) ? address.slice(0, address.indexOf(':')) : address).toLowerCase()
}

function error(path: Path, message: string): ConfigFinding {
  return { level: 'error', path, message }
}

function warning(path: Path, message: string): ConfigFinding {
  return { level: 'warning', path, message }
}
