import { existsSync } from 'node:fs'
import { mkdir, readFile } from 'node:fs/promises'
import { join, resolve } from 'node:path'
import { fileURLToPath } from 'node:url'
import { Command, Option } from 'commander'
import { readConfig } from '../../protocol/config/text.ts'
import type { Config } from '../../protocol/config/config.ts'
import { DployError } from '../../protocol/errors.ts'
import { overSocket } from '../socket-client.ts'
import { makeOutput, type Output } from '../output.ts'
import { pagesOf } from '../pages.ts'
import { Children } from './children.ts'
import { demoConfig, demoText } from './config.ts'
import { conclude, deploy, deployFirst } from './deployments.ts'
import { demoDirectory } from './directory.ts'
import { commitGreeting, hasCommit, lastCommits, makeSample } from './sample.ts'
import { freePorts, startServers } from './servers.ts'
import { startUsers } from './traffic.ts'

/** Requests a second of the demo's users: some hundred during the shortest of deployments, whose bake time is 2 s. */
const usersRate = 150

interface Options {
  servers: string
  once: boolean
  json: boolean
  plain: boolean
  repository?: string
  balancer?: 'haproxy' | 'builtin'
}

export function demoCommand(): Command {
  return new Command('demo')
    .description('see the whole of it on this machine: servers, balancer, application, two deployments under traffic')
    .option('--servers <n>', 'how many servers', '4')
    .option('--once', 'do it, take everything down, exit', false)
    .option('--json', 'one JSON object a line', false)
    .option('--plain', 'plain lines, also on a terminal', false)
    .option(
      '--repository <path>',
      "someone else's application instead of the sample: a git repository; its dploy.yml is the one of --config, or the one in it",
    )
    .addOption(
      new Option('--balancer <kind>', 'by default haproxy where it is installed').choices(['haproxy', 'builtin']),
    )
    .addHelpText(
      'after',
      '\nExamples:\n  $ dploy demo\n  $ dploy demo --servers 8 --once\n  $ dploy demo --repository ~/shop --config ~/shop/dploy.yml\n\nNeeds no root and no network. Uses HAProxy when it is installed, else a small balancer of its own.',
    )
    .action(async (options: Options, command: Command) => {
      const { config } = command.optsWithGlobals<{ config?: string }>()
      const output = makeOutput(options)
      const count = Number(options.servers)
      if (!Number.isInteger(count) || count < 1 || count > 100)
        throw new DployError('request.invalid', `"${options.servers}" is not a number of servers from 1 to 100`, {
          fix: 'For example: dploy demo --servers 8',
        })
      const interrupt = new AbortController()
      const stop = () => interrupt.abort(new DployError('deployment.cancelled', 'The demo was ended'))
      for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.on(signal, stop)
      try {
        await runDemo({
          count,
          once: options.once,
          repository: options.repository,
          balancer: options.balancer,
          configFile: config,
          output,
          signal: interrupt.signal,
        })
      } catch (error) {
        if (!interrupt.signal.aborted) throw error
        process.exitCode = 130
        if (output.mode === 'json')
          output.result({
            state: 'failed',
            failure: new DployError('deployment.cancelled', 'The demo was ended').toJSON(),
          })
      } finally {
        if (interrupt.signal.aborted && output.mode !== 'json') output.line('Everything is taken down.')
      }
    })
}

async function runDemo(demo: {
  count: number
  once: boolean
  repository: string | undefined
  balancer: Options['balancer']
  configFile: string | undefined
  output: Output
  signal: AbortSignal
}): Promise<void> {
  const { output, signal } = demo
  const { startEmbedded, startDemoBalancer } = await import('../embed.ts')
  await using directory = await demoDirectory()
  const ownApplication = demo.repository === undefined
  const repository = demo.repository === undefined ? await makeSample(directory.path) : resolve(demo.repository)
  const wanted = await readDemoConfig(repository, demo.configFile)
  const [front, ...ports] = await freePorts(demo.count + 1)
  const servers = ports.map((port, index) => ({ name: `web${index + 1}`, port }))
  signal.throwIfAborted()

  await using children = new Children()
  await using balancer = await startDemoBalancer({
    kind: demo.balancer,
    directory: directory.path,
    port: front!,
    servers,
    health: wanted.service?.health.path ?? '/',
    tether: fileURLToPath(new URL('./tether.ts', import.meta.url)),
  })
  await mkdir(join(directory.path, 'control'), { recursive: true })
  const pages = pagesOf((text) => say(output, text))
  await using embedded = await startEmbedded(join(directory.path, 'control'), {
    tcp: { host: '127.0.0.1', port: 0 },
    pages,
  })
  await using connection = overSocket(embedded.socket)
  const { client } = connection
  const text = demoText(demoConfig(wanted, { servers, balancer: balancer.config, probe: balancer.url, repository }))
  await client.call('apply', {
    body: { text, fileName: demo.configFile ?? join(repository, 'dploy.yml'), base: repository },
  })
  const started = await startServers(children, client, {
    directory: directory.path,
    control: embedded.plane.url!,
    servers,
  })
  say(output, `${demo.count} servers, each an agent in a directory of its own below ${directory.path}`)
  say(output, `balancer  ${balancer.url}  (${balancer.description})`)

  const deploying = { client, params: { application: wanted.application, environment: 'demo' }, output, signal }
  const commits = ownApplication ? [] : await lastCommits(repository)
  const runs = await deployFirst(deploying, commits[0], commits.at(-1))
  await using users = startUsers(balancer.url, usersRate)
  const next = ownApplication
    ? 'A line is changed and committed.'
    : runs === commits.at(-1)
      ? 'The same revision is deployed again.'
      : 'The newest commit is deployed.'
  say(output, `\nUsers ask ${usersRate} times a second from here on. ${next}\n`)
  if (ownApplication) await commitGreeting(repository, 'Hello from the second revision', 'Greet differently')
  const second = await deploy(deploying, commits.at(-1))
  await users[Symbol.asyncDispose]()
  const { sent, failed } = users.count
  if (output.mode === 'json') output.json({ type: 'users', sent, failed })
  conclude(second, output, { sent, failed })
  say(output, `The users sent ${sent} requests; ${failed} failed.`)
  if (failed > 0) process.exitCode = 1
  if (demo.once) return

  const token = await embedded.plane.firstToken()
  // Built while people read: whoever opens a page before it is built waits for it.
  void pages().catch((error: unknown) => say(output, (error as Error).message))
  if (output.mode === 'json')
    output.json({
      type: 'running',
      application: balancer.url,
      control: embedded.plane.url,
      token,
      repository,
      servers: started,
    })
  say(
    output,
    `\nRunning:\n  application    ${balancer.url}\n  pages          ${embedded.plane.url}\n  token          ${token}`,
  )
  for (const server of started)
    say(output, `  ${server.name.padEnd(13)}  http://127.0.0.1:${server.port}  ${server.root}`)
  say(output, '\nCtrl-C ends all of it.')
  await new Promise<void>((resolve) => signal.addEventListener('abort', () => resolve(), { once: true }))
}

async function readDemoConfig(repository: string, file: string | undefined): Promise<Config> {
  if (!(await hasCommit(repository))) {
    throw new DployError('source.unreachable', `${repository} is not a git repository with a commit`, {
      where: repository,
      fix: `Run there: git init && git add --all && git commit -m "Begin"`,
    })
  }
  const path = file === undefined ? join(repository, 'dploy.yml') : resolve(file)
  if (!existsSync(path))
    throw new DployError('config.missing', `There is no ${path}`, {
      where: repository,
      fix: `Run there: dploy init; or name one with --config`,
    })
  return readConfig(await readFile(path, 'utf8'), path)
}

function say(output: Output, text: string): void {
  if (output.mode !== 'json') output.line(text)
}
