import { bySsh, perServer } from '../facts.ts'

/** Whether the agent can do what dploy.yml asks for, as the user that it runs as. */
export const privileges = perServer((server, { asks }) => {
  const user = server.diagnosis?.user
  if (!user || user.uid === 0 || user.sudo) return []
  const needs = server.diagnosis?.directory.problem === 'EACCES' ? `${server.diagnosis.directory.path} is not theirs to write` : asks.manager === 'systemd' ? 'service.manager is systemd, whose units only root writes' : asks.user !== null && asks.user !== user.name ? `service.user is ${asks.user}` : null
  if (needs === null) return []
  return [{ severity: 'error', code: 'server.no_sudo', message: `The agent runs as ${user.name}, who may not use sudo without a password, and ${needs}`, next: bySsh(server, 'sudo visudo -f /etc/sudoers.d/dploy') }]
})
