import type { TargetGroup as Description, TargetHealthDescription } from '@aws-sdk/client-elastic-load-balancing-v2'
import { DployError } from '../../protocol/errors.ts'
import type { Api, Call } from './api.ts'
import { isSame, titleOf, type Pool, type PoolSettings, type SeenTarget, type Target } from './pool.ts'

/** A target group of Application or Network Load Balancers. */
export class TargetGroup implements Pool {
  readonly title: string
  readonly #arn: string
  readonly #api: Api
  #description: Promise<Description> | null = null

  constructor(arn: string, api: Api) {
    this.#arn = arn
    this.#api = api
    this.title = `target group ${arn.split('/')[1]}`
  }

  async resolve(targets: readonly Target[], signal: AbortSignal): Promise<Target[]> {
    const { TargetType, Port } = await this.#describe(signal)
    return targets.map(({ id, port }) => {
      const isInstance = id.startsWith('i-')
      if ((TargetType === 'instance') !== isInstance) {
        const takes =
          TargetType === 'instance'
            ? 'instance ids'
            : TargetType === 'ip'
              ? 'IP addresses'
              : `targets of the type ${TargetType}, which dploy cannot deploy to`
        throw new DployError('balancer.unknown_server', `The ${this.title} takes ${takes}, not ${id}`, {
          where: this.title,
          fix: 'Write what it takes into balancer.targets in dploy.yml',
        })
      }
      return { id, port: port ?? Port ?? null }
    })
  }

  async check(targets: readonly Target[], signal: AbortSignal): Promise<PoolSettings> {
    const [description, attributes, seen] = await Promise.all([
      this.#describe(signal),
      this.#attributes(signal),
      this.look(signal),
    ])
    if (description.LoadBalancerArns?.length === 0) {
      throw new DployError(
        'balancer.unknown_backend',
        `No load balancer uses the ${this.title}: AWS would never call its targets healthy`,
        {
          where: this.title,
          fix: 'Name it in a listener of the load balancer, or take it out of balancer.target_groups',
        },
      )
    }
    const other = seen.find(
      (one) =>
        one.state !== 'draining' &&
        targets.some(({ id }) => id === one.id) &&
        !targets.some((target) => isSame(target, one)),
    )
    if (other) {
      throw new DployError(
        'balancer.unknown_server',
        `${other.id} is in the ${this.title} on the port ${other.port} too, which dploy.yml does not name: it would get traffic while it restarts`,
        {
          where: this.title,
          fix: `Write each port: balancer.targets, such as [${titleOf(targets.find(({ id }) => id === other.id)!)}, ${titleOf(other)}]`,
        },
      )
    }
    const absent = targets.filter((target) => !seen.some((one) => isSame(one, target)))
    // Not registered is well: a deployment that was cut off may have left it so. What AWS does not know is not.
    if (absent.length > 0) await this.#health(absent, signal)
    return {
      delay: Number(attributes.get('deregistration_delay.timeout_seconds') ?? 300),
      interval: description.HealthCheckIntervalSeconds ?? 30,
      // "After your target is registered, it must pass one health check to be considered healthy."
      answers: description.HealthCheckEnabled === false ? 0 : 1,
      slowStart: Number(attributes.get('slow_start.duration_seconds') ?? 0),
    }
  }

  async look(signal: AbortSignal): Promise<SeenTarget[]> {
    return this.#health(null, signal)
  }

  async register(targets: readonly Target[], signal: AbortSignal): Promise<void> {
    await this.#api.v2(this.#call('RegisterTargets', signal), (sdk, client, options) =>
      client.send(
        new sdk.RegisterTargetsCommand({ TargetGroupArn: this.#arn, Targets: targets.map(described) }),
        options,
      ),
    )
  }

  /** AWS passes over what is not registered. */
  async deregister(targets: readonly Target[], signal: AbortSignal): Promise<void> {
    await this.#api.v2(this.#call('DeregisterTargets', signal), (sdk, client, options) =>
      client.send(
        new sdk.DeregisterTargetsCommand({ TargetGroupArn: this.#arn, Targets: targets.map(described) }),
        options,
      ),
    )
  }

  async #health(targets: readonly Target[] | null, signal: AbortSignal): Promise<SeenTarget[]> {
    const answer = await this.#api.v2(this.#call('DescribeTargetHealth', signal), (sdk, client, options) =>
      client.send(
        new sdk.DescribeTargetHealthCommand({
          TargetGroupArn: this.#arn,
          ...(targets && { Targets: targets.map(described) }),
        }),
        options,
      ),
    )
    return (answer.TargetHealthDescriptions ?? []).map(seenOf)
  }

  #describe(signal: AbortSignal): Promise<Description> {
    this.#description ??= this.#api
      .v2(this.#call('DescribeTargetGroups', signal), (sdk, client, options) =>
        client.send(new sdk.DescribeTargetGroupsCommand({ TargetGroupArns: [this.#arn] }), options),
      )
      .then(({ TargetGroups }) => {
        if (!TargetGroups?.[0])
          throw new DployError('balancer.unknown_backend', `AWS has no ${this.title}`, {
            where: this.title,
            fix: 'Check balancer.target_groups in dploy.yml',
          })
        return TargetGroups[0]
      })
      .catch((error: unknown) => {
        this.#description = null
        throw error
      })
    return this.#description
  }

  async #attributes(signal: AbortSignal): Promise<Map<string, string>> {
    const answer = await this.#api.v2(this.#call('DescribeTargetGroupAttributes', signal), (sdk, client, options) =>
      client.send(new sdk.DescribeTargetGroupAttributesCommand({ TargetGroupArn: this.#arn }), options),
    )
    return new Map((answer.Attributes ?? []).map(({ Key, Value }) => [Key!, Value!]))
  }

  #call(action: string, signal: AbortSignal): Call {
    return { action, where: this.title, signal }
  }
}

function described(target: Target): { Id: string; Port?: number } {
  return { Id: target.id, ...(target.port !== null && { Port: target.port }) }
}

function seenOf({ Target, TargetHealth }: TargetHealthDescription): SeenTarget {
  const state = TargetHealth?.State === 'unhealthy.draining' ? 'draining' : (TargetHealth?.State ?? 'unavailable')
  // With its health check switched off a target is never called healthy, and gets traffic.
  const up = state === 'unavailable' && TargetHealth?.Reason === 'Target.HealthCheckDisabled'
  const said = [TargetHealth?.Reason, TargetHealth?.Description]
    .filter((one) => one !== undefined && one !== '')
    .join(': ')
  return {
    id: Target!.Id!,
    port: Target?.Port ?? null,
    state: up ? 'healthy' : state,
    text: said === '' ? state : `${state} (${said})`,
  }
}
