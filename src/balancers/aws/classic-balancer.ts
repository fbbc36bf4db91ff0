import type { InstanceState, LoadBalancerDescription } from '@aws-sdk/client-elastic-load-balancing'
import { DployError } from '../../protocol/errors.ts'
import type { Api, Call } from './api.ts'
import type { Pool, PoolSettings, SeenTarget, Target } from './pool.ts'

/** A Classic Load Balancer. It knows instances, not ports. */
export class ClassicBalancer implements Pool {
  readonly title: string
  readonly #name: string
  readonly #api: Api

  constructor(name: string, api: Api) {
    this.#name = name
    this.#api = api
    this.title = `Classic Load Balancer ${name}`
  }

  async resolve(targets: readonly Target[]): Promise<Target[]> {
    const address = targets.find(({ id }) => !id.startsWith('i-'))
    if (address)
      throw new DployError('balancer.unknown_server', `The ${this.title} takes instance ids, not ${address.id}`, {
        where: this.title,
        fix: 'Write the instance id into balancer.targets in dploy.yml',
      })
    return [...new Set(targets.map(({ id }) => id))].map((id) => ({ id, port: null }))
  }

  async check(targets: readonly Target[], signal: AbortSignal): Promise<PoolSettings> {
    const [description, draining] = await Promise.all([this.#describe(signal), this.#draining(signal)])
    const registered = new Set(description.Instances?.map(({ InstanceId }) => InstanceId))
    const absent = targets.filter(({ id }) => !registered.has(id))
    // Not registered is well: a deployment that was cut off may have left it so. What AWS does not know is not.
    if (absent.length > 0) await this.#health(absent, signal)
    return {
      delay: draining,
      interval: description.HealthCheck?.Interval ?? 30,
      answers: description.HealthCheck?.HealthyThreshold ?? 10,
      slowStart: 0,
    }
  }

  async look(signal: AbortSignal): Promise<SeenTarget[]> {
    return this.#health(null, signal)
  }

  async register(targets: readonly Target[], signal: AbortSignal): Promise<void> {
    await this.#api.classic(this.#call('RegisterInstancesWithLoadBalancer', signal), (sdk, client, options) =>
      client.send(
        new sdk.RegisterInstancesWithLoadBalancerCommand({
          LoadBalancerName: this.#name,
          Instances: targets.map(described),
        }),
        options,
      ),
    )
  }

  async deregister(targets: readonly Target[], signal: AbortSignal): Promise<void> {
    await this.#api.classic(this.#call('DeregisterInstancesFromLoadBalancer', signal), (sdk, client, options) =>
      client.send(
        new sdk.DeregisterInstancesFromLoadBalancerCommand({
          LoadBalancerName: this.#name,
          Instances: targets.map(described),
        }),
        options,
      ),
    )
  }

  async #health(targets: readonly Target[] | null, signal: AbortSignal): Promise<SeenTarget[]> {
    const answer = await this.#api.classic(this.#call('DescribeInstanceHealth', signal), (sdk, client, options) =>
      client.send(
        new sdk.DescribeInstanceHealthCommand({
          LoadBalancerName: this.#name,
          ...(targets && { Instances: targets.map(described) }),
        }),
        options,
      ),
    )
    return (answer.InstanceStates ?? []).map(seenOf)
  }

  async #describe(signal: AbortSignal): Promise<LoadBalancerDescription> {
    const answer = await this.#api.classic(this.#call('DescribeLoadBalancers', signal), (sdk, client, options) =>
      client.send(new sdk.DescribeLoadBalancersCommand({ LoadBalancerNames: [this.#name] }), options),
    )
    const found = answer.LoadBalancerDescriptions?.[0]
    if (!found)
      throw new DployError('balancer.unknown_backend', `AWS has no ${this.title}`, {
        where: this.title,
        fix: 'Check balancer.classic and balancer.region in dploy.yml',
      })
    return found
  }

  /** How long it waits for requests in flight. Seconds; 0 where connection draining is off. */
  async #draining(signal: AbortSignal): Promise<number> {
    const answer = await this.#api.classic(
      this.#call('DescribeLoadBalancerAttributes', signal),
      (sdk, client, options) =>
        client.send(new sdk.DescribeLoadBalancerAttributesCommand({ LoadBalancerName: this.#name }), options),
    )
    const draining = answer.LoadBalancerAttributes?.ConnectionDraining
    return draining?.Enabled ? (draining.Timeout ?? 300) : 0
  }

  #call(action: string, signal: AbortSignal): Call {
    return { action, where: this.title, signal }
  }
}

function described(target: Target): { InstanceId: string } {
  return { InstanceId: target.id }
}

/** While it drains, an instance is shown as in service; only the description tells (API reference, InstanceState). */
function seenOf({ InstanceId, State, Description }: InstanceState): SeenTarget {
  const draining = /deregistration currently in progress/i.test(Description ?? '')
  const unused = /not currently registered/i.test(Description ?? '')
  const initial = /registration is still in progress|has not passed the configured HealthyThreshold/i.test(
    Description ?? '',
  )
  const state = draining
    ? 'draining'
    : unused
      ? 'unused'
      : State === 'InService'
        ? 'healthy'
        : initial
          ? 'initial'
          : State === 'OutOfService'
            ? 'unhealthy'
            : 'unavailable'
  const said = Description === undefined || Description === 'N/A' ? '' : ` (${Description})`
  return { id: InstanceId!, port: null, state, text: `${State ?? 'Unknown'}${said}` }
}
