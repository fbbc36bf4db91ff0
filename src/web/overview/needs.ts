import type { Right, Place } from '../../protocol/api/access.ts'
import { mayAt } from '../../protocol/api/access.ts'
import type { OverviewEnvironment } from '../../protocol/api/overview.ts'

/** Something that waits for a person: what, where, since when, and the page on which it is dealt with. */
export interface Need {
  key: string
  tone: 'warn' | 'bad'
  where: { application: string; environment: string }
  text: string
  detail: string
  since: number | null
  to: string
  action: string
}

type Rights = readonly { right: Right; place: Place | null }[]

/** What waits for whoever has these rights, the worst first. */
export function needsOf(environments: readonly OverviewEnvironment[], rights: Rights): Need[] {
  return environments
    .flatMap((one) => needsIn(one, mayAt(rights as never, 'deploy', one)))
    .toSorted((a, b) => Number(b.tone === 'bad') - Number(a.tone === 'bad'))
}

/** What a person who may deploy here would look at; who may only look is told the same, but for approvals. */
function needsIn(one: OverviewEnvironment, may: boolean): Need[] {
  const { application, environment, awaiting, waiting, lock, ended, health, running } = one
  const where = { application, environment }
  const place = `/environments/${encodeURIComponent(application)}/${encodeURIComponent(environment)}`
  const need = (key: string, rest: Omit<Need, 'key' | 'where'>): Need => ({
    key: `${application}/${environment} ${key}`,
    where,
    ...rest,
  })
  const needs: Need[] = []
  if (may)
    for (const { number, requestedBy, createdAt, revision } of awaiting)
      needs.push(
        need(`approval ${number}`, {
          tone: 'warn',
          text: 'waits for approval',
          detail: `${revision?.subject ?? `deployment ${number}`}, asked for by ${requestedBy}`,
          since: createdAt,
          to: `/deployments/${number}`,
          action: 'Review',
        }),
      )
  if (waiting && lock)
    needs.push(
      need('waiting', {
        tone: 'warn',
        text: 'paused',
        detail: waiting.text,
        since: waiting.since,
        to: `/deployments/${lock.number}`,
        action: 'Look',
      }),
    )
  if (ended && running === null && (ended.state === 'failed' || ended.state === 'rolled_back'))
    needs.push(
      need('failed', {
        tone: ended.state === 'failed' ? 'bad' : 'warn',
        text: ended.state === 'failed' ? 'failed' : 'rolled back',
        detail: `deployment ${ended.number}`,
        since: ended.finishedAt,
        to: `/deployments/${ended.number}`,
        action: 'Why',
      }),
    )
  // In the middle of a deployment servers go and come.
  if (health && running === null) {
    const count = (servers: number) => `${servers} of ${health.servers} ${health.servers === 1 ? 'server' : 'servers'}`
    if (health.absent > 0)
      needs.push(
        need('absent', {
          tone: 'bad',
          text: 'not connected',
          detail: count(health.absent),
          since: null,
          to: `${place}/servers`,
          action: 'Servers',
        }),
      )
    if (health.sick > 0)
      needs.push(
        need('sick', {
          tone: 'bad',
          text: 'not well',
          detail: count(health.sick),
          since: null,
          to: `${place}/servers`,
          action: 'Servers',
        }),
      )
    if (health.out > 0)
      needs.push(
        need('out', {
          tone: 'warn',
          text: 'out of traffic',
          detail: count(health.out),
          since: null,
          to: `${place}/servers`,
          action: 'Servers',
        }),
      )
    if (!health.balancer)
      needs.push(
        need('balancer', {
          tone: 'bad',
          text: 'the balancer does not say who serves',
          detail: '',
          since: null,
          to: `${place}/servers`,
          action: 'Servers',
        }),
      )
  }
  return needs
}

/** How urgently an environment wants to be looked at: 0 not at all. */
export function urgency(one: OverviewEnvironment, needs: readonly Need[]): number {
  const own = needs.filter(
    ({ where }) => where.application === one.application && where.environment === one.environment,
  )
  return own.some(({ tone }) => tone === 'bad') ? 3 : own.length > 0 ? 2 : one.running !== null ? 1 : 0
}
