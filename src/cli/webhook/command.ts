import { Command } from 'commander'
import { webhookServiceSchema, type Delivery, type Webhook, type WebhookService } from '../../protocol/api/webhooks.ts'
import { DployError } from '../../protocol/errors.ts'
import { table } from '../../protocol/terminal.ts'
import { ago } from '../ago.ts'
import { makeOutput } from '../output.ts'
import { readValue } from '../secret/value.ts'
import { openControlPlane } from '../server/connection.ts'

/** Where the secret goes, as each service calls it. */
const fields: Record<WebhookService, string> = {
  github: 'Settings, Webhooks, Add webhook: Payload URL, Content type application/json, Secret, "Just the push event"',
  gitlab: 'Settings, Webhooks, Add new webhook: URL, Secret token (or Signing token), Push events',
  bitbucket: 'Repository settings, Webhooks, Add webhook: URL, Secret, Repository push',
  gitea: 'Settings, Webhooks, Add webhook (Gitea or Forgejo): Target URL, Secret, Push events',
}

/** `dploy webhook`: services that tell of pushes. */
export function webhookCommand(): Command {
  return new Command('webhook')
    .description('deploy what is pushed: GitHub, GitLab, Bitbucket, Gitea, Forgejo')
    .addCommand(addCommand())
    .addCommand(listCommand())
    .addCommand(removeCommand())
    .addCommand(testCommand())
    .addCommand(redeliverCommand())
}

function addCommand(): Command {
  return new Command('add')
    .description('make a webhook; its secret is shown once')
    .argument('<service>', 'github, gitlab, bitbucket or gitea (Forgejo too)')
    .option('--application <name>', 'only its environments; by default those of the dploy.yml here')
    .option('--all', 'all applications whose source is the repository', false)
    .option('--in <environment>', 'only this environment; can be given several times', collect, [])
    .option('--note <text>', 'what it is for', '')
    .option('--own-secret', 'use a secret that is typed, or comes from standard input', false)
    .option('--json', 'one JSON object a line', false)
    .addHelpText(
      'after',
      '\nExamples:\n  $ dploy webhook add github\n  $ dploy webhook add gitlab --in staging\n  $ dploy webhook add gitea --all --note "everything at git.example.org"',
    )
    .action(
      async (
        name: string,
        options: { application?: string; all: boolean; in: string[]; note: string; ownSecret: boolean; json: boolean },
        command: Command,
      ) => {
        const output = makeOutput(options)
        const parsed = webhookServiceSchema.safeParse(name === 'forgejo' ? 'gitea' : name)
        if (!parsed.success)
          throw new DployError('request.invalid', `"${name}" is no service that dploy knows`, {
            fix: `Give one of: ${webhookServiceSchema.options.join(', ')}`,
          })
        const service = parsed.data
        await using connection = await openControlPlane(command)
        const { project, client } = connection
        if (options.all && options.application !== undefined)
          throw new DployError('request.invalid', 'Give --all or --application, not both')
        const application = options.all ? null : (options.application ?? project?.config.application)
        if (application === undefined)
          throw new DployError('config.missing', 'Which application? There is no dploy.yml here to say', {
            fix: 'Give --application NAME, or --all',
          })
        const secret = options.ownSecret ? await readValue('Secret (it is not shown): ') : undefined
        if (project && application === project.config.application)
          await client.call('apply', { body: { text: project.text, fileName: project.file, base: project.base } })
        const made = await client.call('addWebhook', {
          body: {
            service,
            note: options.note,
            application,
            environments: options.in.length === 0 ? null : options.in,
            ...(secret === undefined ? {} : { secret }),
          },
        })
        if (output.mode === 'json') return output.result({ webhook: made.webhook, secret: made.secret })
        output.line(`Made ${made.webhook.id}: a push deploys ${reachOf(made.webhook)}.\n`)
        output.line(
          `  Address:  ${made.webhook.url.startsWith('/') ? 'https://YOUR-CONTROL-PLANE' : ''}${made.webhook.url}`,
        )
        if (!options.ownSecret) output.line(`  Secret:   ${made.secret}   (shown this once)`)
        output.line(`\nIn the repository: ${fields[service]}.`)
        output.line(
          connection.embedded
            ? 'Pushes arrive only while dploy serve runs, where the service can reach it.'
            : 'The address has to be the one under which the service reaches dploy serve.',
        )
        output.line(`What a push would start:  dploy webhook test ${made.webhook.id} BRANCH`)
      },
    )
}

function listCommand(): Command {
  return new Command('list')
    .description('the webhooks, with what came last; with an id, what came to it')
    .argument('[id]')
    .option('--json', 'one JSON object a line', false)
    .action(async (id: string | undefined, options: { json: boolean }, command: Command) => {
      const output = makeOutput(options)
      await using connection = await openControlPlane(command)
      const now = Date.now()
      if (id !== undefined) {
        const { deliveries } = await connection.client.call('deliveries', { params: { webhook: id }, query: {} })
        if (output.mode === 'json')
          return deliveries.forEach((delivery) => output.json({ type: 'delivery', ...delivery }))
        if (deliveries.length === 0) return output.line('Nothing came yet.')
        for (const line of table(
          [
            ['', '', 'event', 'branch', 'what came of it'],
            ...deliveries.map((one) => [
              one.id,
              ago(one.receivedAt, now),
              one.againBy === null ? one.event : `${one.event}, again`,
              one.branches.join(', '),
              outcomeOf(one),
            ]),
          ],
          output.width(),
        ))
          output.line(line)
        return
      }
      const { webhooks } = await connection.client.call('webhooks')
      if (output.mode === 'json') return webhooks.forEach((webhook) => output.json({ type: 'webhook', ...webhook }))
      if (webhooks.length === 0) return output.line('None. Make one: dploy webhook add github')
      const rows = webhooks.map((one) => [
        one.id,
        one.service,
        reachOf(one),
        one.note,
        one.last === null ? 'nothing came yet' : `${ago(one.last.receivedAt, now)}: ${outcomeOf(one.last)}`,
      ])
      for (const line of table([['', 'from', 'deploys', 'for', 'last'], ...rows], output.width())) output.line(line)
    })
}

function removeCommand(): Command {
  return new Command('remove')
    .description('remove a webhook; what is sent to its address is refused from then on')
    .argument('<id>', 'as dploy webhook list shows it')
    .option('--json', 'one JSON object a line', false)
    .action(async (id: string, options: { json: boolean }, command: Command) => {
      const output = makeOutput(options)
      await using connection = await openControlPlane(command)
      await connection.client.call('removeWebhook', { params: { webhook: id } })
      if (output.mode === 'json') return output.result({ removed: id })
      output.line('Removed. Take it out of the service too.')
    })
}

function testCommand(): Command {
  return new Command('test')
    .description('what a push to a branch would start; starts nothing')
    .argument('<id>', 'as dploy webhook list shows it')
    .argument('<branch>')
    .option('--repository <url>', 'the repository that is pushed to; by default the source of the applications')
    .option('--json', 'one JSON object a line', false)
    .addHelpText('after', '\nExamples:\n  $ dploy webhook test whk_4k2v9m1x7p3q8r5t main')
    .action(async (id: string, branch: string, options: { repository?: string; json: boolean }, command: Command) => {
      const output = makeOutput(options)
      await using connection = await openControlPlane(command)
      const { results } = await connection.client.call('testWebhook', {
        params: { webhook: id },
        body: { branch, repository: options.repository ?? null },
      })
      if (output.mode === 'json') return output.result({ results })
      if (results.length === 0)
        return output.line(
          'No application has that source. For a source that is a path, make the webhook with --application.',
        )
      const rows = results.map((one) => [
        `${one.application}/${one.environment}`,
        one.deploys ? 'would be deployed' : 'stays as it is',
        one.reason,
      ])
      for (const line of table([['', `a push to ${branch}`, 'because'], ...rows], output.width())) output.line(line)
    })
}

function redeliverCommand(): Command {
  return new Command('redeliver')
    .description('work through what came once more, as if it came now')
    .argument('<id>', 'as dploy webhook list shows it')
    .argument('[delivery]', 'as dploy webhook list ID shows it; by default the newest push')
    .option('--json', 'one JSON object a line', false)
    .addHelpText(
      'after',
      '\nExamples:\n  $ dploy webhook redeliver whk_4k2v9m1x7p3q8r5t\n  $ dploy webhook redeliver whk_4k2v9m1x7p3q8r5t dlv_8q1s0c6b2n4m7x5z',
    )
    .action(async (id: string, delivery: string | undefined, options: { json: boolean }, command: Command) => {
      const output = makeOutput(options)
      await using connection = await openControlPlane(command)
      const { client } = connection
      const wanted =
        delivery ??
        (await client.call('deliveries', { params: { webhook: id }, query: {} })).deliveries.find(
          (one) => one.branches.length > 0,
        )?.id
      if (wanted === undefined)
        throw new DployError('request.invalid', 'No push came to this webhook yet', {
          fix: `Run: dploy webhook list ${id}`,
        })
      const again = await client.call('redeliver', { params: { webhook: id, delivery: wanted } })
      if (output.mode === 'json') return output.json({ type: 'delivery', ...again })
      output.line(
        `Taken again: ${again.event} to ${again.branches.join(', ')}. What comes of it: dploy webhook list ${id}`,
      )
    })
}

function reachOf(webhook: Webhook): string {
  if (webhook.application === null) return 'every application with that source'
  return webhook.environments === null
    ? webhook.application
    : webhook.environments.map((name) => `${webhook.application}/${name}`).join(', ')
}

function outcomeOf(delivery: Delivery): string {
  if (delivery.state === 'waiting') return 'waits'
  if (delivery.results.length === 0) return delivery.reason
  return delivery.results
    .map((one) => `${one.environment}: ${one.deployment === null ? one.reason : `deployment ${one.deployment}`}`)
    .join('; ')
}

function collect(value: string, before: string[]): string[] {
  return [...before, value]
}
