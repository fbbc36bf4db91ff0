import { balancer } from './checks/balancer.ts'
import { clock } from './checks/clock.ts'
import { connection } from './checks/connection.ts'
import { directory } from './checks/directory.ts'
import { disk } from './checks/disk.ts'
import { drift } from './checks/drift.ts'
import { keepAlive } from './checks/keep-alive.ts'
import { platform } from './checks/platform.ts'
import { ports } from './checks/ports.ts'
import { privileges } from './checks/privileges.ts'
import { secrets } from './checks/secrets.ts'
import { takenOver } from './checks/taken-over.ts'
import type { Check, EnvironmentFacts, Finding } from './facts.ts'

/** In the order in which a person would look: what explains the most comes first. */
const checks: readonly Check[] = [
  connection,
  takenOver,
  clock,
  platform,
  privileges,
  directory,
  disk,
  ports,
  keepAlive,
  drift,
  balancer,
  secrets,
]

/** Everything that is wrong, the findings of a server together. Pure. */
export function examine(facts: EnvironmentFacts): Finding[] {
  const order = [null, ...facts.servers.map((server) => server.name)]
  const place = ({ server }: Finding) => (server === null ? order.length : order.indexOf(server))
  return checks.flatMap((check) => check(facts)).sort((a, b) => place(a) - place(b))
}
