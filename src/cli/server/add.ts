import { Command } from 'commander'
import { setTimeout as delay } from 'node:timers/promises'
import type { Client } from '../../client/client.ts'
import { DployError, reportOf, type ErrorReport } from '../../protocol/errors.ts'
import { errorText, makeOutput, type Output } from '../output.ts'
import type { Project } from '../project.ts'
import { answered, onQuestion } from '../view/question.ts'
import { showProgress } from '../view/ssh-progress.ts'
import { openControlPlane } from './connection.ts'

interface Options {
  ssh?: string
  environment?: string
  tag: Record<string, string>
  json: boolean
}

/** How long an agent has to dial in once it is installed. Milliseconds. */
const arrival = 30_000
/** How many servers are installed at a time. */
const atOnce = 8

export function addCommand(): Command {
  return new Command('add')
    .description('make machines servers: installs the agent over ssh, which dials this control plane from then on')
    .argument('<names...>', 'names of the servers, as dploy.yml has them')
    .option(
      '--ssh <destination>',
      'how ssh reaches it, for one server: web1, deploy@10.0.0.5:2222; by default the address in dploy.yml, or the name',
    )
    .option(
      '--environment <name>',
      'make it a member of this environment of dploy.yml, also where dploy.yml does not list it',
    )
    .option('--tag <name=value>', 'a tag; may be given several times', collect, {})
    .option('--json', 'one JSON object a line', false)
    .addHelpText(
      'after',
      '\nExamples:\n  $ dploy server add web1 web2\n  $ dploy server add web9 --ssh deploy@10.0.0.9 --environment production --tag role=web\n\nNeeds root there, or sudo without a password. A machine that ssh does not reach installs itself: dploy serve prints the line.',
    )
    .action(async (names: string[], options: Options, command: Command) => {
      const output = makeOutput(options)
      if (options.ssh !== undefined && names.length > 1)
        throw new DployError('request.invalid', '--ssh is for one server', {
          fix: 'Name one, or put the addresses into dploy.yml',
        })
      await using connection = await openControlPlane(command)
      const { client, project } = connection
      if (connection.embedded)
        throw new DployError('request.invalid', 'No control plane runs here that an agent could dial', {
          fix: 'Start one: dploy serve --listen 0.0.0.0:4800; or name it: --server URL',
        })
      if (options.environment !== undefined && !project?.config.environments[options.environment])
        throw new DployError('environment.unknown', `dploy.yml has no environment ${options.environment}`, {
          fix: 'Run this beside the dploy.yml that has it',
        })
      checkTags(names, options, project)
      if (project && options.environment !== undefined)
        await client.call('apply', { body: { text: project.text, fileName: project.file, base: project.base } })
      const { url, script } = await client.call('installer')
      if (/^https?:\/\/(127\.|localhost|\[::1\])/.test(url))
        throw new DployError('request.invalid', `The control plane is at ${url}, where no other machine reaches it`, {
          fix: 'Start it so that they do: dploy serve --listen 0.0.0.0:4800 --url http://ADDRESS:4800',
        })
      const { Ssh } = await import('../../ssh/ssh.ts')
      await using ssh = new Ssh({
        configFile: command.optsWithGlobals<{ sshConfig?: string }>().sshConfig ?? process.env.DPLOY_SSH_CONFIG ?? null,
        runtimeAddress: process.env.DPLOY_RUNTIME_URL,
        interactive: process.stdin.isTTY && process.stderr.isTTY,
        wait: 0,
        onProgress: showProgress(),
        onQuestion,
      })
      const add = async (name: string) => {
        const address = options.ssh ?? addressOf(project, name)
        const { installAgent } = await import('../../ssh/install.ts')
        const known = (await client.call('servers')).servers.find((server) => server.name === name)
        const newKey = known !== undefined && !known.joined && known.since !== null
        await installAgent(
          ssh,
          { name, address },
          {
            url,
            script,
            token: () => tokenFor(client, name, project, options),
            newKey,
            signal: AbortSignal.timeout(600_000),
          },
        )
        await untilArrived(client, name)
        // A machine that had joined before needed no token, which would have said this.
        if (project && options.environment !== undefined)
          await client.call('addToEnvironment', {
            params: { server: name },
            body: { application: project.config.application, environment: options.environment, tags: options.tag },
          })
      }
      await inTurn(names, add, output)
    })
}

function collect(text: string, tags: Record<string, string>): Record<string, string> {
  const at = text.indexOf('=')
  if (at < 1) throw new DployError('request.invalid', `"${text}" is no tag`, { fix: 'For example: --tag role=web' })
  return { ...tags, [text.slice(0, at)]: text.slice(at + 1) }
}

/** Tags belong to a server in an environment, and where dploy.yml lists it there, they stand there. Throws `request.invalid` where they would go nowhere. */
function checkTags(names: readonly string[], { environment, tag }: Options, project: Project | null): void {
  if (Object.keys(tag).length === 0) return
  const words = Object.entries(tag)
    .map(([key, value]) => `${key}=${value}`)
    .join(', ')
  if (environment === undefined || !project)
    throw new DployError(
      'request.invalid',
      `The tags ${words} say nothing about which environment: a server has tags in each of its own`,
      {
        where: '--tag',
        fix: 'Name one beside the dploy.yml that has it: --environment NAME; or write them into dploy.yml',
      },
    )
  for (const server of project.config.environments[environment]?.servers ?? []) {
    if (!names.includes(server.name) || Object.entries(tag).every(([key, value]) => server.tags[key] === value))
      continue
    throw new DployError(
      'request.invalid',
      `dploy.yml lists ${server.name} under ${environment}, and says which tags it has there`,
      {
        where: '--tag',
        fix: `Write it there: { name: ${server.name}, tags: { ${Object.entries({ ...server.tags, ...tag })
          .map(([key, value]) => `${key}: ${value}`)
          .join(', ')} } }`,
      },
    )
  }
}

/** As some environment of dploy.yml says how to reach it; null: by its name. */
function addressOf(project: Project | null, name: string): string | null {
  for (const { servers } of Object.values(project?.config.environments ?? {}))
    for (const server of servers) if (server.name === name) return server.address ?? null
  return null
}

async function tokenFor(client: Client, name: string, project: Project | null, options: Options): Promise<string> {
  const environments =
    options.environment === undefined || !project
      ? []
      : [{ application: project.config.application, environment: options.environment }]
  return (
    await client.call('createJoinToken', {
      body: { note: `dploy server add ${name}`, uses: 1, minutes: 15, environments, tags: options.tag, server: name },
    })
  ).token
}

async function untilArrived(client: Client, name: string): Promise<void> {
  for (const deadline = Date.now() + arrival; ; await delay(100)) {
    const { servers } = await client.call('servers')
    if (servers.some((server) => server.name === name && server.connected)) return
    if (Date.now() > deadline)
      throw new DployError('server.unreachable', `The agent of ${name} is installed and has not dialled in`, {
        where: name,
        fix: `Look there: systemctl status dploy-agent; does ${name} reach the control plane's address?`,
      })
  }
}

/** Each server for itself: one that fails keeps no other from being added. Throws the first failure. */
async function inTurn(names: readonly string[], add: (name: string) => Promise<void>, output: Output): Promise<void> {
  const failures: ErrorReport[] = []
  const left = [...names]
  const work = async () => {
    for (let name = left.shift(); name !== undefined; name = left.shift()) {
      const began = Date.now()
      try {
        await add(name)
        await answered()
        if (output.mode === 'json')
          output.json({ type: 'server', name, connected: true, seconds: (Date.now() - began) / 1000 })
        else output.line(`${name} is a server now (${((Date.now() - began) / 1000).toFixed(1)} s).`)
      } catch (error) {
        const report = reportOf(error, name)
        failures.push(report)
        await answered()
        if (output.mode === 'json') output.json({ type: 'server', name, connected: false, failure: report })
        else if (names.length > 1) output.line(errorText(report))
      }
    }
  }
  await Promise.all(Array.from({ length: Math.min(atOnce, names.length) }, work))
  if (failures[0]) throw DployError.from(failures[0])
}
