import type { BalancerConfig } from '../../../protocol/config.ts'
import type { Check } from '../facts.ts'

/** Whether the balancer is there, and knows every server. */
export const balancer: Check = ({ balancerProblem, asks, environment }) => {
  if (!balancerProblem) return []
  const { code, message, where } = balancerProblem
  return [{ server: null, severity: 'error', code, message: where === undefined || message.includes(where) ? message : `${where}: ${message}`, next: next(asks.balancer, environment) }]
}

/** What shows a person the same that dploy saw. */
function next(config: BalancerConfig, environment: string): string {
  switch (config.kind) {
    case 'haproxy': {
      const address = [config.address].flat()[0]!
      return `echo "show servers state" | socat stdio ${address.startsWith('unix:') ? address.slice('unix:'.length) : `tcp-connect:${address.replace(/^tcp:/, '')}`}`
    }
    case 'nginx':
      return 'sudo nginx -T'
    case 'caddy':
      return 'curl -sS http://localhost:2019/config/'
    case 'aws':
      return 'aws sts get-caller-identity'
    case 'builtin':
    case 'command':
    case 'none':
      return `dploy plan ${environment}`
    default:
      return config satisfies never
  }
}
