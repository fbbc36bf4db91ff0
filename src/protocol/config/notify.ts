import * as z from 'zod'

/** The part of the schema of dploy.yml that says who is told of what. */

const text = (title: string, pattern: RegExp) =>
  z.string().max(2_000).regex(pattern, `must be ${title}`).meta({ title })
const secretName = text('the name of a secret: letters, digits and "_", the first no digit', /^[A-Za-z_][A-Za-z0-9_]*$/)
const address = text('an e-mail address', /^[^\s\0<>"@,;:]+@[^\s\0<>"@,;:]+$/)
const httpUrl = z
  .url({ protocol: /^https?$/ })
  .max(2_000)
  .meta({ title: 'an http or https address' })

/** What people are told of. */
export const momentSchema = z.enum([
  'started',
  'succeeded',
  'failed',
  'rolled_back',
  'cancelled',
  'waiting_for_approval',
  'server_gone',
])
export type Moment = z.infer<typeof momentSchema>

const common = {
  on: z
    .array(momentSchema)
    .min(1)
    .default(['succeeded', 'failed', 'rolled_back', 'waiting_for_approval', 'server_gone'])
    .meta({
      description: 'Of which moments. server_gone: an agent is away for a minute.',
      examples: [['failed', 'rolled_back']],
    }),
  environments: z
    .array(text('the name of an environment', /^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$/))
    .min(1)
    .optional()
    .meta({ description: 'Only of these environments; by default of all.', examples: [['production']] }),
}

const entry = z.discriminatedUnion('kind', [
  z.strictObject({
    kind: z
      .literal('slack')
      .describe('An incoming webhook of Slack, or of what speaks like it (Mattermost, Rocket.Chat).'),
    secret: secretName.meta({
      description: 'Name of the secret that holds the address of the incoming webhook.',
      examples: ['SLACK_ADDRESS'],
    }),
    ...common,
  }),
  z.strictObject({
    kind: z.literal('webhook').describe('A signed message to an address of yours, as Standard Webhooks says.'),
    url: httpUrl.meta({ description: 'Where it is sent, by POST.', examples: ['https://hooks.example.com/dploy'] }),
    secret: secretName.meta({
      description: 'Name of the secret that it is signed with: whsec_ and a key in base64, or any text.',
      examples: ['HOOK_KEY'],
    }),
    ...common,
  }),
  z.strictObject({
    kind: z.literal('email').describe('E-mail, by SMTP.'),
    server: text('HOST:PORT of a mail server', /^(?:[A-Za-z0-9._-]+|\[[0-9A-Fa-f:.]+\]):\d{1,5}$/).meta({
      description: 'The mail server that takes it.',
      examples: ['smtp.example.com:587'],
    }),
    tls: z
      .enum(['starttls', 'implicit', 'none'])
      .default('starttls')
      .describe('How the conversation is kept secret: starttls (port 587), implicit (port 465), none.'),
    user: text('a user name', /^[^\0\r\n]+$/)
      .optional()
      .meta({ description: 'Who signs in at the server; left out: nobody does.', examples: ['dploy'] }),
    secret: secretName
      .optional()
      .meta({ description: 'Name of the secret that holds the password of that user.', examples: ['SMTP_PASSWORD'] }),
    from: address.meta({ description: 'The sender.', examples: ['dploy@example.com'] }),
    to: z
      .array(address)
      .min(1)
      .max(50)
      .meta({ description: 'Who gets it.', examples: [['team@example.com']] }),
    ...common,
  }),
  z.strictObject({
    kind: z.literal('commit_status').describe('A mark at the commit, in GitHub or GitLab: pending, success, failure.'),
    service: z.enum(['github', 'gitlab']).describe('Where the commit is.'),
    secret: secretName.meta({
      description: 'Name of the secret that holds a token which may set statuses.',
      examples: ['GITHUB_TOKEN'],
    }),
    api: httpUrl.optional().meta({
      description: 'Address of the API; by default that of github.com or gitlab.com.',
      examples: ['https://git.example.com/api/v4'],
    }),
    repository: text('OWNER/NAME', /^[^\s\0/]+(?:\/[^\s\0/]+)+$/)
      .optional()
      .meta({ description: 'Which repository; by default the one of source.', examples: ['example/shop'] }),
    environments: common.environments,
  }),
])

export const notifySchema = z
  .array(
    entry.superRefine((value, context) => {
      if (value.kind === 'email' && (value.user === undefined) !== (value.secret === undefined))
        context.addIssue({
          code: 'custom',
          path: [value.user === undefined ? 'secret' : 'user'],
          message: 'user and secret go together',
        })
    }),
  )
  .max(50)
  .default([])
  .meta({
    title: 'a list of mappings whose key "kind" is "slack", "webhook", "email" or "commit_status"',
    description:
      'Who is told of deployments. Passwords, tokens and addresses that are secret stand in secrets: dploy secret set.',
  })

/** Who is told, and how; see docs/notifications.md. */
export type NotifyEntry = z.output<typeof entry>
export type NotifyKind = NotifyEntry['kind']
