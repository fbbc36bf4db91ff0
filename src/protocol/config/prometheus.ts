import * as z from 'zod'
import { durationOr, text } from './values.ts'

/** The part of dploy.yml that lets Prometheus say how a canary does: docs/canary.md. */

const title = 'a query in PromQL that gives one number'
const query = (description: string, example: string) =>
  text(title, /^(?=[^\0]*\S)[^\0]{1,4000}$/).meta({ description, examples: [example] })

const counted = 'sum(http_requests_total{instance=~"{addresses}:9100"})'
const entry = z
  .strictObject({
    name: text('a name of letters, digits, spaces, ".", "_" and "-"', /^[A-Za-z0-9][A-Za-z0-9 ._-]{0,62}$/).meta({
      description: 'How messages call it.',
      examples: ['errors'],
    }),
    requests: query(
      'A counter of requests to the servers: {servers} stands for their names and {addresses} for their hosts, as a regular expression in brackets. It is asked for the servers with the new release and for those with the old one.',
      counted,
    ).optional(),
    failures: query(
      'With "requests": the counter of those that failed. Both are judged as what the balancer counts.',
      'sum(http_requests_total{instance=~"{addresses}:9100",code=~"5.."})',
    ).optional(),
    value: query(
      'Instead of counters: any number that tells how well the servers do.',
      'histogram_quantile(0.95, sum by (le) (rate(http_request_duration_seconds_bucket{instance=~"{addresses}:9100"}[1m])))',
    ).optional(),
    at_most: z
      .number()
      .optional()
      .meta({ description: 'With "value": more than this of the new release speaks against it.', examples: [0.5] }),
    at_least: z
      .number()
      .optional()
      .meta({ description: 'With "value": less than this of the new release speaks against it.', examples: [0.99] }),
    worse_by: z
      .string()
      .regex(/^(\d|[1-9]\d{1,2})%$/, 'must be a share such as 20%')
      .transform((text) => Number.parseInt(text, 10) / 100)
      .optional()
      .meta({
        title: 'a share such as 20%',
        description:
          'With "value": being worse than the old release by more than this share speaks against the new one.',
        examples: ['20%'],
      }),
    worse: z.enum(['higher', 'lower']).default('higher').describe('With "worse_by": which way is worse.'),
  })
  .superRefine((value, context) => {
    const counts = value.requests !== undefined || value.failures !== undefined
    const limited = value.at_most !== undefined || value.at_least !== undefined || value.worse_by !== undefined
    if (counts === (value.value !== undefined))
      context.addIssue({
        code: 'custom',
        path: ['name'],
        message: 'needs either the keys "requests" and "failures", or the key "value"',
      })
    else if (counts && (value.requests === undefined || value.failures === undefined))
      context.addIssue({ code: 'custom', path: ['name'], message: 'needs both keys "requests" and "failures"' })
    else if (limited === counts)
      context.addIssue({
        code: 'custom',
        path: ['name'],
        message: counts
          ? 'limits go with the key "value", not with counters'
          : 'needs one of the keys "at_most", "at_least" and "worse_by" beside "value"',
      })
  })

export const prometheusSchema = z.strictObject({
  url: z.url({ protocol: /^https?$/ }).meta({
    title: 'an http or https address',
    description: 'Where Prometheus is, as the control plane reaches it.',
    examples: ['http://prometheus.internal:9090'],
  }),
  every: durationOr('15s', 'How often it is asked.', 250),
  times: z
    .number()
    .int()
    .min(1)
    .max(100)
    .default(3)
    .describe('A value counts as failed once it was beyond its limit so many times in a row.'),
  queries: z.array(entry).min(1).max(20).meta({ title: 'a list of queries', description: 'What is asked.' }),
})
