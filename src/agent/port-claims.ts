import { DployError } from '../protocol/errors.ts'
import type { ServiceManager } from './services/contract.ts'
import { foreignListener, holderText } from './services/listener.ts'

/**
 * Throws `server.port_taken` where something that is not the service's listens on a port that it is to have, so that
 * nothing is drained or switched for a start that cannot succeed. `replaces`: units that are stopped for it. `former`: other managers that keep releases of it, and
 * are ended when it is activated.
 */
export async function checkPorts(
  ports: readonly number[],
  manager: ServiceManager,
  former: readonly ServiceManager[],
  replaces: readonly string[] = [],
): Promise<void> {
  const own = await manager.processes()
  const others = await Promise.all(former.map((one) => one.processes()))
  // What a person's own commands start, nobody can know.
  if (own === null || others.includes(null)) return
  const all = [own, ...others.map((one) => one!)]
  const pids = all.flatMap((one) => one.pids)
  for (const port of ports) {
    const holder = foreignListener(port, { pids, has: (pid) => all.some((one) => one.has(pid)) })
    // What is to be replaced is stopped before the start.
    if (holder === null || (holder.unit !== null && replaces.includes(holder.unit))) continue
    // Sockets that are handed to releases are held by systemd, or by the process keeper.
    const held = await Promise.all([manager, ...former].map((one) => one.beside?.holds({ host: null, port }) ?? false))
    if (!held.includes(true))
      throw new DployError('server.port_taken', `Port ${port} is taken by ${holderText(holder)}`, {
        fix:
          holder.unit !== null && holder.release === null
            ? `If the release takes its place: service.replaces: [${holder.unit}]. Else end it there (systemctl disable --now ${holder.unit}), or choose another service.port`
            : `End it, or choose another service.port. Look on the server: ss -ltnp sport = :${port}`,
      })
  }
}
