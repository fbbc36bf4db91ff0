import type { BalancerConfig } from '../../../protocol/config/config.ts'
import type { ErrorReport } from '../../../protocol/errors.ts'
import { typed } from '../../../protocol/typed.ts'
import type { Check } from '../facts.ts'

/** Whether the balancer is there, and knows every server. */
export const balancer: Check = ({ balancerProblem, asks, environment }) => {
  if (!balancerProblem) return []
  const { code, message, where } = balancerProblem
  return [
    {
      server: null,
      severity: 'error',
      code,
      message: where === undefined || message.includes(where) ? message : `${where}: ${message}`,
      next: next(asks.balancer, environment, balancerProblem),
    },
  ]
}

/** What shows a person the same that dploy saw. */
function next(config: BalancerConfig, environment: string, { code, where }: ErrorReport): string {
  switch (config.kind) {
    case 'haproxy': {
      const { socket, host, port } = placeOf(config.address, where)
      if (code === 'balancer.unreachable') return reaches({ socket, host, port })
      return `echo "show servers state" | ${typed(['socat', 'stdio', socket ?? `tcp-connect:${host}:${port}`])}`
    }
    case 'nginx':
      return 'sudo nginx -T'
    case 'caddy': {
      const { socket, host, port } = placeOf(config.address, where)
      if (code === 'balancer.unreachable') return reaches({ socket, host, port })
      return typed([
        'curl',
        '-sS',
        ...(socket === null
          ? [`http://${host}:${port}/config/`]
          : ['--unix-socket', socket, 'http://localhost/config/']),
      ])
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

/** Whether anything is there, and who may use it, with nothing that would have to be installed first. */
function reaches({ socket, host, port }: ReturnType<typeof placeOf>): string {
  return socket === null
    ? typed(['bash', '-c', `exec 3<>/dev/tcp/${host}/${port} && echo open`])
    : typed(['ls', '-l', socket])
}

/** Of several, the one that the problem is with. */
function placeOf(
  address: string | readonly string[],
  where: string | undefined,
): { socket: string | null; host: string; port: string } {
  const all = [address].flat()
  const one = all.find((each) => each === where) ?? all[0]!
  const tcp = /^tcp:(.+):(\d+)$/.exec(one)
  return tcp
    ? { socket: null, host: tcp[1]!, port: tcp[2]! }
    : { socket: one.replace(/^unix:/, ''), host: '', port: '' }
}
