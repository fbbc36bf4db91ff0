import type { Command } from 'commander'
import { connect, type Connection } from '../connect.ts'
import { readProject, type Project } from '../project.ts'
import { DployError } from '../../protocol/errors.ts'

/** A control plane for what is about servers and not about an environment: needs no dploy.yml, but uses the one there is. */
export async function openControlPlane(command: Command): Promise<Connection & { project: Project | null }> {
  const options = command.optsWithGlobals<{ server?: string; config?: string; sshConfig?: string }>()
  let project: Project | null = null
  try {
    project = readProject(options.config, process.cwd())
  } catch (error) {
    if (!(error instanceof DployError && error.code === 'config.missing' && options.config === undefined)) throw error
  }
  return {
    ...(await connect({ server: options.server, base: project?.base ?? process.cwd(), sshConfig: options.sshConfig })),
    project,
  }
}
