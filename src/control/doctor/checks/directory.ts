import { bySsh, onServer, perServer } from '../facts.ts'

/** Whether releases can be put where dploy.yml says. */
export const directory = perServer((server, facts) => {
  const { diagnosis } = server
  const foreign = diagnosis?.directory.foreign
  if (foreign) {
    const { path } = diagnosis.directory
    return [
      {
        severity: 'error',
        code: 'server.directory_taken',
        message: `${path} holds release ${foreign.release} of ${foreign.application} in ${foreign.environment}; give ${facts.application} a directory of its own in dploy.yml`,
        next: onServer(facts, server, ['ls', '-l', path]),
      },
    ]
  }
  if (!diagnosis?.directory.problem) return []
  const { path, nearest, problem } = diagnosis.directory
  const { user } = diagnosis
  const at = nearest === path ? path : `${path} cannot be made: ${nearest}`
  switch (problem) {
    case 'EROFS':
      return [
        {
          severity: 'error',
          code: 'server.not_writable',
          message: `${at} is on a file system that is mounted read-only`,
          next: onServer(facts, server, ['findmnt', '-T', nearest]),
        },
      ]
    case 'ENOTDIR':
      return [
        {
          severity: 'error',
          code: 'server.not_writable',
          message: `${at} is no directory`,
          next: onServer(facts, server, ['ls', '-ld', nearest]),
        },
      ]
    default:
      return user.uid === 0
        ? [
            {
              severity: 'error',
              code: 'server.not_writable',
              message: `${at} cannot be written, not even by root (${problem})`,
              next: onServer(facts, server, ['lsattr', '-d', nearest]),
            },
          ]
        : [
            {
              severity: 'error',
              code: 'server.not_writable',
              message: `${at} cannot be written by ${user.name}, as whom the agent runs`,
              next: bySsh(
                facts,
                server,
                nearest === path
                  ? ['sudo', 'chown', '-R', user.name, path]
                  : ['sudo', 'install', '-d', '-o', user.name, path],
              ),
            },
          ]
  }
})
