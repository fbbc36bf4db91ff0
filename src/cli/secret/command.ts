import { readFileSync } from 'node:fs'
import { parseEnv } from 'node:util'
import { Command } from 'commander'
import { DployError } from '../../protocol/errors.ts'
import { ago } from '../ago.ts'
import { makeOutput } from '../output.ts'
import { openSession, requester } from '../session.ts'
import { readValue } from './value.ts'

/** `dploy secret`: values that go to the servers and stand in no file of the repository. */
export function secretCommand(): Command {
  return new Command('secret')
    .description('set values that no one can read again: dploy.yml names them under "secrets"')
    .addCommand(setCommand())
    .addCommand(listCommand())
    .addCommand(removeCommand())
    .addCommand(importCommand())
}

function setCommand(): Command {
  return new Command('set')
    .description('set a secret; its value is typed, or comes from standard input')
    .argument('<environment>')
    .argument('<name>')
    .option('--json', 'one JSON object a line', false)
    .addHelpText(
      'after',
      '\nExamples:\n  $ dploy secret set production DATABASE_URL\n  $ dploy secret set production TLS_KEY < key.pem',
    )
    .action(async (environment: string, name: string, options: { json: boolean }, command: Command) => {
      const output = makeOutput(options)
      await using session = await openSession(command, environment)
      const value = await readValue(`Value of ${name} in ${environment} (it is not shown): `)
      await session.client.call('setSecret', {
        params: { ...session.params, name },
        body: { value, setBy: requester() },
      })
      if (output.mode === 'json') return output.result({ set: [name] })
      output.line(`Set. The next release gets it: dploy deploy ${environment}`)
      const { config } = session.project
      if (![...config.secrets, ...config.environments[environment]!.secrets].includes(name))
        output.line(`dploy.yml does not name it yet. Add there:  secrets: [${name}]`)
    })
}

function listCommand(): Command {
  return new Command('list')
    .description('the names of the secrets, and who set them when')
    .argument('[environment]')
    .option('--json', 'one JSON object a line', false)
    .action(async (environment: string | undefined, options: { json: boolean }, command: Command) => {
      const output = makeOutput(options)
      await using session = await openSession(command, environment)
      const { secrets } = await session.client.call('secrets', { params: session.params })
      const { config } = session.project
      const named = [...new Set([...config.secrets, ...config.environments[session.params.environment]!.secrets])]
      const missing = named.filter((name) => !secrets.some((secret) => secret.name === name))
      if (output.mode === 'json') return output.result({ secrets, missing })
      if (secrets.length === 0 && missing.length === 0)
        return output.line(`None. Set one: dploy secret set ${session.params.environment} NAME`)
      const width = Math.max(...[...secrets.map(({ name }) => name), ...missing].map((name) => name.length))
      for (const secret of secrets)
        output.line(
          `${secret.name.padEnd(width)}  set ${ago(secret.setAt, Date.now())} by ${secret.setBy}${named.includes(secret.name) ? '' : ' · dploy.yml does not name it'}`,
        )
      for (const name of missing)
        output.line(`${name.padEnd(width)}  not set: dploy secret set ${session.params.environment} ${name}`)
    })
}

function removeCommand(): Command {
  return new Command('remove')
    .description(
      'forget a secret with all the values it had; earlier releases that want it cannot be activated any more',
    )
    .argument('<environment>')
    .argument('<name>')
    .option('--json', 'one JSON object a line', false)
    .action(async (environment: string, name: string, options: { json: boolean }, command: Command) => {
      const output = makeOutput(options)
      await using session = await openSession(command, environment)
      await session.client.call('removeSecret', { params: { ...session.params, name } })
      if (output.mode === 'json') return output.result({ removed: [name] })
      output.line('Removed. What runs keeps it until the next deployment.')
    })
}

function importCommand(): Command {
  return new Command('import')
    .description('set every secret of a file of NAME=VALUE lines (.env)')
    .argument('<environment>')
    .argument('<file>')
    .option('--json', 'one JSON object a line', false)
    .action(async (environment: string, file: string, options: { json: boolean }, command: Command) => {
      const output = makeOutput(options)
      const values = Object.entries(parseEnv(readOrThrow(file))).filter(
        (entry): entry is [string, string] => entry[1] !== undefined && entry[1] !== '',
      )
      if (values.length === 0)
        throw new DployError('request.invalid', `${file} holds no line NAME=VALUE`, { where: file })
      await using session = await openSession(command, environment)
      for (const [name, value] of values)
        await session.client.call('setSecret', {
          params: { ...session.params, name },
          body: { value, setBy: requester() },
        })
      const set = values.map(([name]) => name)
      if (output.mode === 'json') return output.result({ set })
      output.line(`Set ${set.join(', ')}. ${file} is no longer needed here.`)
    })
}

function readOrThrow(file: string): string {
  try {
    return readFileSync(file, 'utf8')
  } catch (error) {
    throw new DployError('request.invalid', `${file} cannot be read: ${(error as Error).message}`, { where: file })
  }
}
