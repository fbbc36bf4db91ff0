import { allowSudo, perServer } from '../facts.ts'

/** Whether the agent can do what dploy.yml asks for, as the user that it runs as. */
export const privileges = perServer((server, facts) => {
  const { asks } = facts
  if (!server.diagnosis) return []
  const { user, directory } = server.diagnosis
  if (user.uid === 0 || user.sudo) return []
  const needs = [
    ...(asks.manager === 'systemd' ? ['service.manager is systemd, whose units only root writes'] : []),
    ...(asks.user !== null && asks.user !== user.name ? [`service.user is ${asks.user}`] : []),
    ...(directory.problem === 'EACCES' ? [`${directory.path} is not theirs to write`] : []),
  ]
  if (needs.length === 0) return []
  return [
    {
      severity: 'error',
      code: 'server.no_sudo',
      message: `The agent runs as ${user.name}, who may not use sudo without a password, and ${needs.join(', and ')}`,
      next: allowSudo(facts, server, user.name),
    },
  ]
})
