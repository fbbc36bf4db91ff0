import { userInfo, hostname } from 'node:os'
import type { Command } from 'commander'
import type { Client } from '../client/client.ts'
import { DployError } from '../protocol/errors.ts'
import { connect } from './connect.ts'
import { placeSchema, schemaPlace } from './init/editor-schema.ts'
import { chooseEnvironment, readProject, type Project } from './project.ts'

/** What most commands begin with: the dploy.yml, its environment, and a control plane that knows both. */
export interface Session extends AsyncDisposable {
  project: Project
  client: Client
  params: { application: string; environment: string }
  embedded: boolean
  warnings: string[]
}

/** Reads dploy.yml, connects, and tells the control plane of it. With `any`, a command that is about all environments takes the first; `ahead`: it will ask every server. */
export async function openSession(
  command: Command,
  environment: string | undefined,
  choice: { any?: boolean; ahead?: boolean } = {},
): Promise<Session> {
  const options = command.optsWithGlobals<{ server?: string; config?: string; sshConfig?: string }>()
  const project = readProject(options.config, process.cwd())
  // Another person's clone has dploy.yml and not what it names.
  if (project.text.includes(schemaPlace)) placeSchema(project.base)
  const name =
    choice.any === true && environment === undefined
      ? Object.keys(project.config.environments)[0]!
      : chooseEnvironment(project, environment)
  const connection = await connect({
    server: options.server,
    base: project.base,
    sshConfig: options.sshConfig,
    ...(choice.ahead === true && {
      ahead: { application: project.config.application, environment: name, servers: serversOf(project, name) },
    }),
  })
  try {
    const warnings = await tell(connection.client, project)
    return {
      project,
      client: connection.client,
      embedded: connection.embedded,
      params: { application: project.config.application, environment: name },
      warnings,
      [Symbol.asyncDispose]: () => connection[Symbol.asyncDispose](),
    }
  } catch (error) {
    await connection[Symbol.asyncDispose]()
    throw error
  }
}

function serversOf(project: Project, environment: string): { name: string; address: string | null }[] {
  return project.config.environments[environment]!.servers.map(({ name, address }) => ({
    name,
    address: address ?? null,
  }))
}

/** Tells the control plane what dploy.yml says now. Who may deploy nothing changes nothing, and sees what there is. */
async function tell(client: Client, project: Project): Promise<string[]> {
  try {
    return (await client.call('apply', { body: { text: project.text, fileName: project.file, base: project.base } }))
      .warnings
  } catch (error) {
    if (error instanceof DployError && error.code === 'forbidden') return []
    throw error
  }
}

/** Who asks, for the record: `anna@laptop`. */
export function requester(): string {
  let user = 'unknown'
  try {
    user = userInfo().username
  } catch {
    // A user id without a name (in a container).
  }
  return `${user}@${hostname()}`
}
