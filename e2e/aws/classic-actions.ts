import type { Actions, ElbServer } from './elb-server.ts'
import type { Pool, PoolTarget, TargetState } from './pool.ts'
import { QueryError, type QueryParameters, type XmlValue } from './query.ts'

/** The actions of version 2012-06-01 that a deployment needs. */
export const classicActions: Actions = {
  DescribeLoadBalancers(parameters, server) {
    const names = parameters.list('LoadBalancerNames', [''])?.map((entry) => entry['']!) ?? null
    parameters.end()
    const pools =
      names === null
        ? [...server.pools.values()].filter((pool) => pool.options.kind === 'classic')
        : names.map((name) => find(name, server))
    return { LoadBalancerDescriptions: pools.map(describe) }
  },

  DescribeLoadBalancerAttributes(parameters, server) {
    const { options } = find(parameters.text('LoadBalancerName'), server)
    parameters.end()
    return {
      LoadBalancerAttributes: {
        CrossZoneLoadBalancing: { Enabled: true },
        AccessLog: { Enabled: false },
        ConnectionDraining: { Enabled: options.delay > 0, Timeout: options.delay > 0 ? options.delay : 300 },
        ConnectionSettings: { IdleTimeout: 60 },
      },
    }
  },

  DescribeInstanceHealth(parameters, server) {
    const pool = find(parameters.text('LoadBalancerName'), server)
    const named = instancesOf(parameters, pool)
    parameters.end()
    if (named !== null) checkInstances(named, server)
    return { InstanceStates: (named ?? pool.targets).map((target) => stateOf(target, pool.state(target))) }
  },

  RegisterInstancesWithLoadBalancer(parameters, server) {
    const { pool, targets } = change(parameters, server)
    pool.register(targets)
    return { Instances: pool.targets.map(({ id }) => ({ InstanceId: id })) }
  },

  DeregisterInstancesFromLoadBalancer(parameters, server) {
    const { pool, targets } = change(parameters, server)
    pool.deregister(targets)
    return {
      Instances: pool.targets
        .filter((target) => pool.state(target).state !== 'draining')
        .map(({ id }) => ({ InstanceId: id })),
    }
  },
}

function change(parameters: QueryParameters, server: ElbServer): { pool: Pool; targets: PoolTarget[] } {
  const pool = find(parameters.text('LoadBalancerName'), server)
  const targets = instancesOf(parameters, pool)
  parameters.end()
  if (targets === null)
    throw new QueryError(
      'ValidationError',
      "1 validation error detected: Value null at 'instances' failed to satisfy constraint: Member must not be null",
    )
  checkInstances(targets, server)
  return { pool, targets }
}

function find(name: string, server: ElbServer): Pool {
  const pool = server.pools.get(name)
  if (!pool || pool.options.kind !== 'classic')
    throw new QueryError('LoadBalancerNotFound', `There is no ACTIVE Load Balancer named '${name}'`)
  return pool
}

function instancesOf(parameters: QueryParameters, pool: Pool): PoolTarget[] | null {
  return (
    parameters
      .list('Instances', ['InstanceId'])
      ?.map(({ InstanceId }) => ({ id: InstanceId!, port: pool.options.port })) ?? null
  )
}

function checkInstances(targets: readonly PoolTarget[], server: ElbServer): void {
  const wrong = targets.filter(({ id }) => !server.instances.has(id))
  if (wrong.length > 0)
    throw new QueryError('InvalidInstance', `Could not find EC2 instance ${wrong.map(({ id }) => id).join(', ')}.`)
}

/** The messages of the API reference, InstanceState. */
function stateOf(target: PoolTarget, { state, reason }: TargetState): XmlValue {
  const InstanceId = target.id
  switch (state) {
    case 'healthy':
      return { InstanceId, State: 'InService', ReasonCode: 'N/A', Description: 'N/A' }
    case 'draining':
      return {
        InstanceId,
        State: 'InService',
        ReasonCode: 'N/A',
        Description: 'Instance deregistration currently in progress.',
      }
    case 'initial':
      return {
        InstanceId,
        State: 'OutOfService',
        ReasonCode: 'ELB',
        Description:
          reason === 'Elb.RegistrationInProgress'
            ? 'Instance registration is still in progress.'
            : 'Instance has not passed the configured HealthyThreshold number of health checks consecutively.',
      }
    case 'unhealthy':
      return {
        InstanceId,
        State: 'OutOfService',
        ReasonCode: 'Instance',
        Description: 'Instance has failed at least the UnhealthyThreshold number of health checks consecutively.',
      }
    case 'unused':
      return {
        InstanceId,
        State: 'OutOfService',
        ReasonCode: 'Instance',
        Description: 'Instance is not currently registered with the LoadBalancer.',
      }
    default:
      return state satisfies never
  }
}

function describe(pool: Pool): XmlValue {
  const { options } = pool
  return {
    LoadBalancerName: options.name,
    DNSName: `${options.name}-1234567890.example.com`,
    ListenerDescriptions: [
      {
        Listener: { Protocol: 'HTTP', LoadBalancerPort: 80, InstanceProtocol: 'HTTP', InstancePort: options.port },
        PolicyNames: [],
      },
    ],
    AvailabilityZones: ['eu-central-1a'],
    Subnets: [],
    Instances: pool.targets.map(({ id }) => ({ InstanceId: id })),
    HealthCheck: {
      Target: `HTTP:${options.port}${options.path}`,
      Interval: options.interval,
      Timeout: options.timeout,
      UnhealthyThreshold: options.unhealthy,
      HealthyThreshold: options.healthy,
    },
    Scheme: 'internet-facing',
  }
}
