import { BuiltinBalancer } from '../../balancers/builtin/balancer.ts'
import { haproxyBinary, startHaproxy } from '../../balancers/haproxy/fixture.ts'
import type { BalancerConfig } from '../../protocol/config/config.ts'

export interface DemoBalancer extends AsyncDisposable {
  url: string
  /** For dploy.yml. */
  config: BalancerConfig
  /** For people. */
  description: string
}

/** The balancer of `dploy demo`: the one that was named, or HAProxy where it is installed, else the small one of dploy's own. Throws `balancer.unreachable`. */
export async function startDemoBalancer(options: {
  kind: 'haproxy' | 'builtin' | undefined
  directory: string
  port: number
  servers: { name: string; port: number }[]
  health: string
  tether: string
}): Promise<DemoBalancer> {
  const installed = haproxyBinary() !== null
  if (options.kind === 'builtin' || (options.kind === undefined && !installed)) {
    const balancer = await BuiltinBalancer.start({
      port: options.port,
      controlPort: 0,
      servers: options.servers,
      healthPath: options.health,
    })
    return {
      url: balancer.url,
      config: { kind: 'builtin', address: balancer.controlAddress },
      description: `the small built-in one, for demos only${installed ? '' : '; HAProxy is not installed'}`,
      [Symbol.asyncDispose]: () => balancer[Symbol.asyncDispose](),
    }
  }
  const haproxy = await startHaproxy({
    directory: options.directory,
    bind: `127.0.0.1:${options.port}`,
    backend: 'demo',
    servers: options.servers.map(({ name, port }) => ({ name, address: '127.0.0.1', port })),
    healthPath: options.health,
    tether: { file: process.execPath, args: [options.tether] },
  })
  return {
    url: haproxy.url,
    config: { kind: 'haproxy', address: [haproxy.address], backend: ['demo'] },
    description: 'HAProxy',
    [Symbol.asyncDispose]: () => haproxy[Symbol.asyncDispose](),
  }
}
