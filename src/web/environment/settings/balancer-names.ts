/** How people call the kinds of balancers. */
export const balancerNames: Readonly<Record<string, string>> = {
  haproxy: 'HAProxy',
  nginx: 'nginx',
  caddy: 'Caddy',
  aws: 'Elastic Load Balancing',
  command: 'your own commands',
  builtin: 'the balancer of dploy demo',
  none: 'none',
}
