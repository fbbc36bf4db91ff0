import { Command } from 'commander'
import type { Output as Answer } from '../../client/client.ts'
import { DployError } from '../../protocol/errors.ts'
import { makeOutput, type Output } from '../output.ts'
import { openSession, requester } from '../session.ts'
import { addCommand } from './add.ts'
import { openControlPlane } from './connection.ts'
import { historyLines, listLines, showLines } from './view.ts'

/** `dploy server`: the machines that releases are put on, and the agents on them. */
export function serverCommand(): Command {
  return new Command('server')
    .description('the servers: which is connected, what it runs, who may be one')
    .addCommand(addCommand())
    .addCommand(listCommand())
    .addCommand(showCommand())
    .addCommand(historyCommand())
    .addCommand(trafficCommand('drain'))
    .addCommand(trafficCommand('ready'))
    .addCommand(renameCommand())
    .addCommand(removeCommand())
    .addCommand(rotateKeyCommand())
    .addCommand(unlockCommand())
}

function listCommand(): Command {
  return new Command('list')
    .description(
      'every server: whether it is connected, which release it runs, since when, healthy or not, drifted or not',
    )
    .option('--json', 'one JSON object a line', false)
    .action(async (options: { json: boolean }, command: Command) => {
      const output = makeOutput(options)
      await using connection = await openControlPlane(command)
      const { servers } = await connection.client.call('servers')
      if (output.mode === 'json') return servers.forEach((server) => output.json({ type: 'server', ...server }))
      if (servers.length === 0)
        return output.line('No servers yet. List them in dploy.yml, or let one join: dploy server add NAME')
      for (const line of listLines(servers, Date.now(), output.width())) output.line(line)
    })
}

function showCommand(): Command {
  return new Command('show')
    .description('one server, asked now')
    .argument('<name>')
    .option('--json', 'one JSON object a line', false)
    .action(async (name: string, options: { json: boolean }, command: Command) => {
      const output = makeOutput(options)
      await using connection = await openControlPlane(command)
      const server = await connection.client.call('server', { params: { server: name } })
      if (output.mode === 'json') return output.json({ type: 'server', ...server })
      for (const line of showLines(server, Date.now())) output.line(line)
    })
}

function historyCommand(): Command {
  return new Command('history')
    .description('what was deployed to a server, the newest first')
    .argument('<name>')
    .option('--environment <name>', 'in this environment of dploy.yml')
    .option('--limit <n>', 'how many', '20')
    .option('--json', 'one JSON object a line', false)
    .action(async (name: string, options: { environment?: string; limit: string; json: boolean }, command: Command) => {
      const output = makeOutput(options)
      await using session = await openSession(command, options.environment)
      const { steps } = await session.client.call('serverHistory', {
        params: { ...session.params, server: name },
        query: { limit: options.limit },
      })
      if (output.mode === 'json') return steps.forEach((step) => output.json({ type: 'step', ...step }))
      if (steps.length === 0) return output.line(`Nothing was deployed to ${name} yet.`)
      for (const line of historyLines(steps, Date.now(), output.width())) output.line(line)
    })
}

function trafficCommand(what: 'drain' | 'ready'): Command {
  return new Command(what)
    .description(
      what === 'drain'
        ? 'take a server out of traffic and keep it out, also through deployments'
        : 'put a server back into traffic',
    )
    .argument('<name>')
    .option('--json', 'one JSON object a line', false)
    .action(async (name: string, options: { json: boolean }, command: Command) => {
      const output = makeOutput(options)
      await using connection = await openControlPlane(command)
      const { environments } = await connection.client.call(what === 'drain' ? 'drainServer' : 'readyServer', {
        params: { server: name },
        body: { requestedBy: requester() },
      })
      if (output.mode === 'json') output.result({ server: name, environments })
      else report(output, what, name, environments)
      const failed = environments.find(({ problem }) => problem !== null)
      if (failed?.problem) throw DployError.from(failed.problem)
    })
}

function report(
  output: Output,
  what: 'drain' | 'ready',
  name: string,
  environments: Answer<'drainServer'>['environments'],
): void {
  const done = environments
    .filter(({ problem }) => problem === null)
    .map(({ application, environment }) => `${application}/${environment}`)
  if (environments.length === 0) output.line(`${name} belongs to no environment.`)
  else if (done.length > 0)
    output.line(`${name} is ${what === 'drain' ? 'out of traffic' : 'back in traffic'} in ${done.join(', ')}.`)
  if (what === 'drain' && environments.length > 0) output.line(`It stays out until: dploy server ready ${name}`)
}

function renameCommand(): Command {
  return new Command('rename')
    .description('give a server another name; it keeps its key and its releases')
    .argument('<name>')
    .argument('<new-name>')
    .option('--json', 'one JSON object a line', false)
    .action(async (name: string, newName: string, options: { json: boolean }, command: Command) => {
      const output = makeOutput(options)
      await using connection = await openControlPlane(command)
      const { listed } = await connection.client.call('renameServer', {
        params: { server: name },
        body: { name: newName },
      })
      if (output.mode === 'json') return output.result({ server: newName, listed })
      output.line(`${name} is ${newName} now.`)
      if (listed.length > 0)
        output.line(
          `Write ${newName} into dploy.yml (${listed.join(', ')}) and the balancer before the next deployment.`,
        )
    })
}

function removeCommand(): Command {
  return new Command('remove')
    .description('forget a server and its key; its agent is refused from then on')
    .argument('<name>')
    .option('--json', 'one JSON object a line', false)
    .addHelpText(
      'after',
      '\nWhat runs on the server goes on running. The agent itself is taken off there:\n  # curl -fsSL https://dploy.example.org/install.sh | sh -s -- --uninstall',
    )
    .action(async (name: string, options: { json: boolean }, command: Command) => {
      const output = makeOutput(options)
      await using connection = await openControlPlane(command)
      await connection.client.call('removeServer', { params: { server: name } })
      if (output.mode === 'json') return output.result({ removed: name })
      output.line(`Removed. ${name} is refused from now on; what runs there goes on running.`)
    })
}

function rotateKeyCommand(): Command {
  return new Command('rotate-key')
    .description('have the agent of a server make a new key; the old one is worthless then')
    .argument('<name>')
    .option('--forget', 'the machine is lost or two hold the key: forget it, and print a token to join with', false)
    .option('--json', 'one JSON object a line', false)
    .action(async (name: string, options: { forget: boolean; json: boolean }, command: Command) => {
      const output = makeOutput(options)
      await using connection = await openControlPlane(command)
      const { token } = await connection.client.call('rotateServerKey', {
        params: { server: name },
        body: { forget: options.forget },
      })
      if (output.mode === 'json') return output.result({ server: name, token })
      if (token === null) return output.line(`${name} has a new key.`)
      output.line(`The key of ${name} is forgotten: no machine gets in with it any more.`)
      const { url } = await connection.client.call('installer')
      output.line(
        `On the machine that is to be ${name}, whatever key it has (the token lets in once, within the hour):\n  curl -fsSL ${url}/install.sh | sudo sh -s -- --token ${token} --name ${name} --new-key`,
      )
      output.line(`Or, where ssh reaches it: dploy server add ${name}`)
    })
}

function unlockCommand(): Command {
  return new Command('unlock')
    .description('let a server in again that was locked because two machines held its key')
    .argument('<name>')
    .option('--json', 'one JSON object a line', false)
    .addHelpText(
      'after',
      '\nOnly when the other machine is gone for good; else give the right one a new key: dploy server rotate-key NAME',
    )
    .action(async (name: string, options: { json: boolean }, command: Command) => {
      const output = makeOutput(options)
      await using connection = await openControlPlane(command)
      await connection.client.call('unlockServer', { params: { server: name } })
      if (output.mode === 'json') return output.result({ unlocked: name })
      output.line(`Unlocked. If two machines still hold the key of ${name}, it is locked again.`)
    })
}
