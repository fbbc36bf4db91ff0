import type { BalancerConfig } from '../../../protocol/config.ts'
import { typed } from '../../../protocol/typed.ts'
import type { Check } from '../facts.ts'

/** Whether the balancer is there, and knows every server. */
export const balancer: Check = ({ balancerProblem, asks, environment }) => {
  if (!balancerProblem) return []
  const { code, message, where } = balancerProblem
  return [{ server: null, severity: 'error', code, message: where === undefined || message.includes(where) ? message : `${where}: ${message}`, next: next(asks.balancer, environment, where) }]
}

/** What shows a person the same that dploy saw. */
function next(config: BalancerConfig, environment: string, where: string | undefined): string {
  switch (config.kind) {
    case 'haproxy': {
      const { socket, host, port } = placeOf(config.address, where)
      return `echo "show servers state" | ${typed(['socat', 'stdio', socket ?? `tcp-connect:${host}:${port}`])}`
    }
    case 'nginx':
      return 'sudo nginx -T'
    case 'caddy': {
      const { socket, host, port } = placeOf(config.address, where)
      return typed(['curl', '-sS', ...(socket === null ? [`http://${host}:${port}/config/`] : ['--unix-socket', socket, 'http://localhost/config/'])])
    }
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

/** Of several, the one that the problem is with. */
function placeOf(address: string | readonly string[], where: string | undefined): { socket: string | null; host: string; port: string } {
  const all = [address].flat()
  const one = all.find((each) => each === where) ?? all[0]!
  const tcp = /^tcp:(.+):(\d+)$/.exec(one)
  return tcp ? { socket: null, host: tcp[1]!, port: tcp[2]! } : { socket: one.replace(/^unix:/, ''), host: '', port: '' }
}
