import * as z from 'zod'
import { prometheusSchema } from './prometheus.ts'
import { durationOr, keptShare, share, text } from './values.ts'

const batch = z
  .union([
    z.number().int().min(1),
    z.string().regex(/^((100|[1-9]\d?)%|auto)$/, 'must be a number of servers, a share such as 25%, or auto'),
  ])
  .meta({ title: 'a number of servers, a share such as 25%, or auto' })

const tag = text('a tag as name=value', /^[A-Za-z0-9][A-Za-z0-9._-]{0,62}=[^\0]+$/)
/** How the servers of an environment are switched. */
export const strategy = z
  .strictObject({
    kind: z
      .enum(['rolling', 'all-at-once', 'canary', 'blue-green'])
      .default('rolling')
      .describe(
        'Batch by batch, every server at the same moment, some servers first, whose answers are compared with those of the others, or two groups of servers in turns.',
      ),
    canary: share.default('10%').describe('Kind canary: how many servers get the release first, at least one.'),
    traffic: z
      .string()
      .regex(/^[1-9]\d?%$/, 'must be a share from 1% to 99%')
      .optional()
      .meta({
        title: 'a share from 1% to 99%',
        description:
          'Kind canary: how much of the traffic these servers get together while they are judged, by their weights at the balancer; by default as much as their number brings.',
        examples: ['5%'],
      }),
    judge: durationOr('2m', 'Kind canary: how long their answers are compared before the others follow.', 1_000),
    inconclusive: z
      .enum(['continue', 'ask', 'roll_back'])
      .default('continue')
      .describe('Kind canary: what happens when there were too few requests to judge by; "ask" waits for a person.'),
    groups: z
      .array(tag)
      .length(2)
      .optional()
      .meta({
        title: 'two tags, each as name=value',
        description:
          'Kind blue-green: the tags of the two groups. One serves; the other gets the next release, out of traffic, and then the traffic.',
        examples: [['colour=blue', 'colour=green']],
      }),
    prometheus: prometheusSchema.optional().meta({
      description:
        'Kind canary: what Prometheus says of the servers with the new release and of the others, beside what the balancer counts.',
    }),
    guard: z
      .enum(['on', 'warn', 'off'])
      .default('on')
      .describe(
        "What happens when users get clearly more errors from the new release than from the one before, by the balancer's counters: roll back, only say so, or nothing. It needs a balancer that counts by server.",
      ),
    batch: batch
      .default('25%')
      .describe(
        'How many servers switch together: a number, a share of them, or "auto": as many as the others can stand in for, by "capacity" and the load of the moment.',
      ),
    capacity: z
      .number()
      .positive()
      .max(1_000_000)
      .optional()
      .meta({ description: 'Batch auto: how many requests a second one server can answer.', examples: [200] }),
    min_healthy: keptShare
      .default(0)
      .describe(
        'How many servers stay in traffic whatever the batch: a number, or a share of them. Smaller batches are made for it.',
      ),
    order: z
      .array(tag)
      .default([])
      .meta({
        title: 'a list of tags, each as name=value',
        description:
          'Servers with the first tag switch first, then those with the second, then all others; a batch never mixes them.',
        examples: [['zone=a', 'zone=b']],
      }),
    pause: z
      .enum(['never', 'after_canary', 'after_group', 'after_batch'])
      .default('never')
      .describe('After which of them a person has to let it go on: dploy promote. Groups are those of "order".'),
    pause_limit: durationOr('1h', 'How long it waits for a person before it goes back.', 1_000),
    downtime: z
      .enum(['refused', 'allowed'])
      .default('refused')
      .describe(
        'Whether the last server in traffic may leave it. The balancer is asked before each drain. refused: the deployment waits, then stops; allowed: it goes on, and nobody serves meanwhile.',
      ),
    max_failures: z
      .number()
      .int()
      .min(0)
      .default(0)
      .describe('How many servers may fail and be left drained before the deployment rolls back.'),
    max_unavailable: z
      .number()
      .int()
      .min(0)
      .default(0)
      .describe('How many servers may be out of reach at the start; they converge when they return.'),
    bake: durationOr('2s', 'How long the new release must keep serving after the last batch.', 0),
    bake_batch: durationOr('0s', 'How long each batch must keep serving before the next one.', 0),
    bake_group: durationOr(
      '0s',
      'How long each group of "order" must keep serving before the next one; kind blue-green: how long the new group must stay healthy before it gets the traffic.',
      0,
    ),
  })
  .superRefine((value, context) => {
    if (value.batch === 'auto' && value.capacity === undefined)
      context.addIssue({
        code: 'custom',
        path: ['batch'],
        message: 'batch "auto" needs the key "capacity": how many requests a second one server can answer',
      })
    if (value.kind !== 'blue-green') return
    if (value.groups === undefined)
      context.addIssue({
        code: 'custom',
        path: ['kind'],
        message: 'kind "blue-green" needs the key "groups": the tags of the two groups of servers',
      })
    else if (value.groups[0] === value.groups[1])
      context.addIssue({ code: 'custom', path: ['groups'], message: 'names the same group twice' })
  })
