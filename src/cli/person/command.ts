import { Command } from 'commander'
import { roleSchema, type Grant } from '../../protocol/api/access.ts'
import type { Person } from '../../protocol/api/people.ts'
import type { Client } from '../../client/client.ts'
import { DployError } from '../../protocol/errors.ts'
import { table } from '../../protocol/terminal.ts'
import { ago } from '../ago.ts'
import { makeOutput } from '../output.ts'
import { placesOf } from '../places.ts'
import { openControlPlane } from '../server/connection.ts'

/** `dploy person`: who may sign in, and what they may do. */
export function personCommand(): Command {
  return new Command('person')
    .description('people who may sign in, and what they may do')
    .addCommand(addCommand())
    .addCommand(listCommand())
    .addCommand(roleCommand())
    .addCommand(inviteCommand())
    .addCommand(removeCommand())
}

function addCommand(): Command {
  return new Command('add')
    .description('add a person; prints a one-use link with which they choose their password')
    .argument('<email>')
    .option('--name <name>', 'their name; by default what stands before the @')
    .option('--role <role>', 'viewer, deployer or administrator', 'viewer')
    .option('--in <environment>', 'only there: production, or shop/production; can be given several times', collect, [])
    .option('--json', 'one JSON object a line', false)
    .addHelpText(
      'after',
      '\nExamples:\n  $ dploy person add anna@example.org --role administrator\n  $ dploy person add bert@example.org --role deployer --in staging',
    )
    .action(
      async (
        email: string,
        options: { name?: string; role: string; in: string[]; json: boolean },
        command: Command,
      ) => {
        const output = makeOutput(options)
        await using connection = await openControlPlane(command)
        mustServe(connection)
        const grants = await grantsOf(connection.client, connection.project?.config.application ?? null, options)
        const { person, link, expiresAt } = await connection.client.call('addPerson', {
          body: { email, name: options.name ?? email.split('@')[0]!, grants },
        })
        if (output.mode === 'json') return output.result({ person, link, expiresAt })
        output.line(
          `Added ${person.name}: ${textOf(person.grants)}. With this link they choose a password; it works once, for 3 days:\n  ${link}`,
        )
      },
    )
}

function listCommand(): Command {
  return new Command('list')
    .description('everybody, and what they may do')
    .option('--json', 'one JSON object a line', false)
    .action(async (options: { json: boolean }, command: Command) => {
      const output = makeOutput(options)
      await using connection = await openControlPlane(command)
      const { people } = await connection.client.call('people')
      if (output.mode === 'json') return people.forEach((person) => output.json({ type: 'person', ...person }))
      if (people.length === 0)
        return output.line('Nobody yet. Add the first: dploy person add EMAIL --role administrator')
      const rows = people.map((person) => [
        person.name,
        person.email,
        textOf(person.grants),
        person.invited ? 'invited' : person.seenAt === null ? '' : `seen ${ago(person.seenAt, Date.now())}`,
      ])
      for (const line of table([['name', 'address', 'role', ''], ...rows], output.width())) output.line(line)
    })
}

function roleCommand(): Command {
  return new Command('role')
    .description('say what a person may do; replaces what they might before')
    .argument('<email>')
    .argument('<role>', 'viewer, deployer, administrator or none')
    .option('--in <environment>', 'only there: production, or shop/production; can be given several times', collect, [])
    .option('--add', 'beside what they may already', false)
    .option('--json', 'one JSON object a line', false)
    .addHelpText(
      'after',
      '\nExamples:\n  $ dploy person role bert@example.org viewer\n  $ dploy person role bert@example.org deployer --in staging --add',
    )
    .action(
      async (email: string, role: string, options: { in: string[]; add: boolean; json: boolean }, command: Command) => {
        const output = makeOutput(options)
        await using connection = await openControlPlane(command)
        const person = await personOf(connection.client, email)
        const grants =
          role === 'none'
            ? []
            : await grantsOf(connection.client, connection.project?.config.application ?? null, {
                role,
                in: options.in,
              })
        const changed = await connection.client.call('setGrants', {
          params: { person: person.id },
          body: { grants: options.add ? [...person.grants, ...grants] : grants },
        })
        if (output.mode === 'json') return output.json({ type: 'person', ...changed })
        output.line(`${changed.name}: ${textOf(changed.grants)}`)
      },
    )
}

function inviteCommand(): Command {
  return new Command('invite')
    .description('a new one-use link for somebody who lost theirs, or their password; they are signed out')
    .argument('<email>')
    .option('--json', 'one JSON object a line', false)
    .action(async (email: string, options: { json: boolean }, command: Command) => {
      const output = makeOutput(options)
      await using connection = await openControlPlane(command)
      mustServe(connection)
      const { link, expiresAt } = await connection.client.call('invitePerson', {
        params: { person: (await personOf(connection.client, email)).id },
      })
      if (output.mode === 'json') return output.result({ link, expiresAt })
      output.line(link)
    })
}

function removeCommand(): Command {
  return new Command('remove')
    .description('remove a person; their sessions and tokens end')
    .argument('<email>')
    .option('--json', 'one JSON object a line', false)
    .action(async (email: string, options: { json: boolean }, command: Command) => {
      const output = makeOutput(options)
      await using connection = await openControlPlane(command)
      const person = await personOf(connection.client, email)
      await connection.client.call('removePerson', { params: { person: person.id } })
      if (output.mode === 'json') return output.result({ removed: person.email })
      output.line(`Removed ${person.name}.`)
    })
}

/** A link that nobody answers is none. */
function mustServe({ embedded }: { embedded: boolean }): void {
  if (embedded)
    throw new DployError('request.invalid', 'No control plane serves here, where people could sign in', {
      fix: 'Run: dploy serve; or set DPLOY_URL to one that runs',
    })
}

async function personOf(client: Client, email: string): Promise<Person> {
  const { people } = await client.call('people')
  const person = people.find((one) => one.email === email.toLowerCase())
  if (!person)
    throw new DployError(
      'person.unknown',
      `There is nobody with the address ${email}; known: ${people.map((one) => one.email).join(', ') || 'nobody'}`,
    )
  return person
}

async function grantsOf(
  client: Client,
  application: string | null,
  options: { role: string; in: string[] },
): Promise<Grant[]> {
  const role = roleSchema.safeParse(options.role)
  if (!role.success)
    throw new DployError('request.invalid', `"${options.role}" is no role`, {
      fix: `Give one of: ${roleSchema.options.join(', ')}`,
    })
  if (options.in.length === 0) return [{ role: role.data, place: null }]
  return (await placesOf(client, application, options.in)).map((place) => ({ role: role.data, place }))
}

function textOf(grants: readonly Grant[]): string {
  return (
    grants
      .map(({ role, place }) => (place === null ? role : `${role} in ${place.application}/${place.environment}`))
      .join(', ') || 'no role'
  )
}

function collect(value: string, before: string[]): string[] {
  return [...before, value]
}
