import type { BalancerConfig } from '../protocol/config/config.ts'
import { awsDriver } from './aws/aws.ts'
import { builtinDriver } from './builtin/driver.ts'
import { caddyDriver } from './caddy/caddy.ts'
import { commandDriver } from './command/command.ts'
import type { Balancer, BalancerDriver, FactsOf } from './contract.ts'
import { haproxyDriver } from './haproxy/haproxy.ts'
import { nginxDriver } from './nginx/nginx.ts'
import { noneDriver } from './none/none.ts'

/** Every driver by its kind. A new one is a folder, and a line here. */
const drivers: { [K in BalancerConfig['kind']]: BalancerDriver<K> } = {
  haproxy: haproxyDriver,
  nginx: nginxDriver,
  caddy: caddyDriver,
  command: commandDriver,
  aws: awsDriver,
  builtin: builtinDriver,
  none: noneDriver,
}

/** The balancer that dploy.yml describes. Opens no connection yet. */
export function openBalancer(config: BalancerConfig, factsOf: FactsOf = async () => null): Balancer {
  return (drivers[config.kind] as BalancerDriver<BalancerConfig['kind']>).open(config, factsOf)
}
