import type { Actions, ElbServer } from './elb-server.ts'
import type { Pool, PoolTarget } from './pool.ts'
import { QueryError, type QueryParameters, type XmlValue } from './query.ts'

/** The actions of version 2015-12-01 that a deployment needs. */
export const targetGroupActions: Actions = {
  DescribeTargetGroups(parameters, server) {
    const arns = parameters.list('TargetGroupArns', [''])?.map((entry) => entry['']!) ?? null
    parameters.end()
    const pools =
      arns === null
        ? [...server.pools.values()].filter((pool) => pool.options.kind !== 'classic')
        : arns.map((arn) => find(arn, server))
    return { TargetGroups: pools.map((pool) => describe(pool, server)) }
  },

  DescribeTargetGroupAttributes(parameters, server) {
    const { options } = find(parameters.text('TargetGroupArn'), server)
    parameters.end()
    const attributes: Record<string, string | number | boolean> = {
      'deregistration_delay.timeout_seconds': options.delay,
      'stickiness.enabled': false,
    }
    if (options.kind === 'application')
      Object.assign(attributes, {
        'slow_start.duration_seconds': options.slowStart,
        'load_balancing.algorithm.type': 'round_robin',
      })
    else
      Object.assign(attributes, {
        'deregistration_delay.connection_termination.enabled': false,
        'proxy_protocol_v2.enabled': false,
      })
    return { Attributes: Object.entries(attributes).map(([Key, Value]) => ({ Key, Value })) }
  },

  DescribeTargetHealth(parameters, server) {
    const pool = find(parameters.text('TargetGroupArn'), server)
    const named = targetsOf(parameters, pool)
    parameters.end()
    if (named !== null) checkTargets(named, pool, server)
    return {
      TargetHealthDescriptions: (named ?? pool.targets).map((target) => {
        const { state, reason, description } = pool.state(target)
        return {
          Target: { Id: target.id, Port: target.port },
          HealthCheckPort: target.port,
          TargetHealth: { State: state, Reason: reason, Description: description },
        }
      }),
    }
  },

  RegisterTargets(parameters, server) {
    const { pool, targets } = change(parameters, server)
    pool.register(targets)
    return null
  },

  DeregisterTargets(parameters, server) {
    const { pool, targets } = change(parameters, server)
    pool.deregister(targets)
    return null
  },
}

function change(parameters: QueryParameters, server: ElbServer): { pool: Pool; targets: PoolTarget[] } {
  const pool = find(parameters.text('TargetGroupArn'), server)
  const targets = targetsOf(parameters, pool)
  parameters.end()
  if (targets === null)
    throw new QueryError(
      'ValidationError',
      "1 validation error detected: Value null at 'targets' failed to satisfy constraint: Member must not be null",
    )
  checkTargets(targets, pool, server)
  return { pool, targets }
}

function find(arn: string, server: ElbServer): Pool {
  const name = /^arn:aws:elasticloadbalancing:[a-z0-9-]+:\d{12}:targetgroup\/([^/]+)\/[0-9a-f]{16}$/.exec(arn)?.[1]
  if (name === undefined) throw new QueryError('ValidationError', `'${arn}' is not a valid target group ARN`)
  const pool = server.pools.get(name)
  if (!pool || pool.options.kind === 'classic' || server.arn(name) !== arn)
    throw new QueryError('TargetGroupNotFound', `Target groups '${arn}' not found`)
  return pool
}

function targetsOf(parameters: QueryParameters, pool: Pool): PoolTarget[] | null {
  const list = parameters.list('Targets', ['Id', 'Port', 'AvailabilityZone'])
  return (
    list?.map(({ Id, Port, AvailabilityZone }) => {
      if (Id === undefined)
        throw new QueryError(
          'ValidationError',
          "1 validation error detected: Value null at 'targets.1.member.id' failed to satisfy constraint: Member must not be null",
        )
      if (Port !== undefined && !/^[1-9]\d{0,4}$/.test(Port))
        throw new QueryError('ValidationError', `Port '${Port}' is not valid`)
      if (AvailabilityZone !== undefined && pool.options.targetType !== 'ip')
        throw new QueryError('ValidationError', 'You cannot specify an Availability Zone for a target of type instance')
      return { id: Id, port: Port === undefined ? pool.options.port : Number(Port) }
    }) ?? null
  )
}

/** All of them or none: one wrong target refuses the whole call. */
function checkTargets(targets: readonly PoolTarget[], pool: Pool, server: ElbServer): void {
  const { targetType } = pool.options
  const wrong = targets.filter(({ id }) =>
    targetType === 'instance' ? !server.instances.has(id) : !/^[\d.]+$|:/.test(id),
  )
  if (wrong.length > 0)
    throw new QueryError(
      'InvalidTarget',
      `The following targets are not valid: ${wrong.map(({ id }) => `'${id}'`).join(', ')}`,
    )
}

function describe(pool: Pool, server: ElbServer): XmlValue {
  const { options } = pool
  const arn = server.arn(options.name)
  return {
    TargetGroupArn: arn,
    TargetGroupName: options.name,
    Protocol: options.kind === 'application' ? 'HTTP' : 'TCP',
    Port: options.port,
    VpcId: 'vpc-3ac0fb5f',
    HealthCheckProtocol: 'HTTP',
    HealthCheckPort: 'traffic-port',
    HealthCheckEnabled: true,
    HealthCheckIntervalSeconds: options.interval,
    HealthCheckTimeoutSeconds: options.timeout,
    HealthyThresholdCount: options.healthy,
    UnhealthyThresholdCount: options.unhealthy,
    HealthCheckPath: options.path,
    Matcher: { HttpCode: '200' },
    LoadBalancerArns: options.used
      ? [
          `arn:aws:elasticloadbalancing:${server.region}:123456789012:loadbalancer/${options.kind === 'application' ? 'app' : 'net'}/${options.name}/50dc6c495c0c9188`,
        ]
      : [],
    TargetType: options.targetType,
  }
}
