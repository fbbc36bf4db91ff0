/**
 * One number for all that agent and control plane say to each other. It grows when a message changes in a way that
 * the other side must know of; a peer accepts its own number and the one before.
 *
 * History:
 *  1  2026-11-23  frames, hello, signed commands, stage/activate/run/observe/watch/collect, objects.
 *  1  2026-11-24  boot and retire, asked only of services with a warm hand-over, which need an agent that knows them.
 *  1  2026-11-24  exec, session, receive_file, send_file, diagnose: asked only by a person, whom an agent that does not know them refuses.
 *  1  2026-11-24  hello may introduce an agent that ssh carries; hold, asked only of such an agent.
 *  1  2026-11-24  rotate_key, and a hello signed twice while keys change.
 *  1  2026-11-24  hello tells the version of an agent that upgrades itself; upgrade, asked only of such an agent.
 *  1  2026-11-25  observe tells how the machine is; agents report it, until a control plane says that it does not know what that is.
 *  1  2026-12-01  agents keep the secrets of their releases, and tell in observe what they lack of them; only an agent that told so is asked without them.
 */
export const protocolNumber = 1

/** Whether a peer that speaks `other` can be worked with. */
export function speaks(other: number): boolean {
  return other === protocolNumber || other === protocolNumber - 1
}
