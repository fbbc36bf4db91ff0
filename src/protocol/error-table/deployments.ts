import type { ErrorText } from './text.ts'

/** What a deployment, its lock, its releases and its balancer can meet. */
export const deploymentsErrors = {
  'lock.lost': {
    status: 409,
    title: 'This deployment no longer holds the lock of its environment',
    fix: 'Run: dploy status',
  },
  'release.command_failed': {
    status: 502,
    title: 'The release command failed',
    fix: 'Read its output; nothing was switched',
  },
  'release.old_unhealthy': {
    status: 502,
    title: 'The release command broke the release that serves',
    fix: 'Undo what it changed, then make it leave the old release working',
  },
  'environment.taken_over': {
    status: 409,
    title: 'The servers were ahead of what this control plane knew',
    fix: 'Look at it: dploy status. Then run: dploy converge',
  },
  'release.no_way_back': {
    status: 409,
    title: 'The release that runs could not be started again',
    fix: 'Deploy once from where the release that runs was made, or give up the way back: --no-way-back',
  },
  'release.unknown': { status: 404, title: 'The release does not exist', fix: 'Run: dploy releases' },
  'release.changed': {
    status: 409,
    title: 'A release on a server is not what its commit says any more',
    fix: 'Deploy its revision again: dploy deploy ENVIRONMENT REVISION',
  },
  'release.none_before': {
    status: 409,
    title: 'There is no earlier release to roll back to',
    fix: 'Run: dploy releases',
  },
  'balancer.unreachable': {
    status: 502,
    title: 'The balancer cannot be reached',
    fix: 'Check balancer.address in dploy.yml and the permissions of its socket',
  },
  'balancer.unknown_backend': {
    status: 502,
    title: 'The balancer has no such backend',
    fix: 'Check balancer.backend in dploy.yml',
  },
  'balancer.unknown_server': {
    status: 502,
    title: 'The balancer has no such server',
    fix: 'Give the server the name that the balancer uses, or add it there',
  },
  'balancer.config_broken': {
    status: 502,
    title: "The balancer's configuration is broken",
    fix: 'Correct the configuration of the balancer, then deploy again',
  },
  'balancer.refused': {
    status: 502,
    title: 'The balancer refused a command',
    fix: 'Check that its control address has level admin',
  },
  'balancer.not_up': {
    status: 502,
    title: 'The balancer does not see the server as healthy',
    fix: "Check the balancer's own health check against the server",
  },
  'balancer.cannot_split': {
    status: 409,
    title: 'The balancer cannot send a share of the traffic to some servers',
    fix: 'Leave strategy.traffic out of dploy.yml: a canary then gets what its number of servers gets',
  },
  'balancer.log_unreadable': {
    status: 502,
    title: "The balancer's log cannot be read",
    fix: 'Check balancer.log in dploy.yml, and who may read it',
  },
  'deployment.conflict': {
    status: 409,
    title: 'The deployment is not in a state that allows this',
    fix: 'Run: dploy deployments',
  },
  'deployment.cancelled': { status: 409, title: 'The deployment was cancelled', fix: 'Deploy again when ready' },
  'guard.worse': {
    status: 409,
    title: 'Users get more errors from the new release',
    fix: 'Look at its errors: dploy logs. To deploy it all the same, set strategy.guard: warn',
  },
  'canary.failed': {
    status: 502,
    title: 'The new release answers worse than the old one',
    fix: 'Read what its servers print: dploy logs; mend it and deploy again',
  },
  'canary.inconclusive': {
    status: 502,
    title: 'Too little was seen to judge the new release by',
    fix: 'Raise strategy.judge or strategy.canary, or set strategy.inconclusive: continue',
  },
  'deployment.not_promoted': {
    status: 409,
    title: 'Nobody let the deployment go on in time',
    fix: 'Deploy again, and when it waits: dploy promote; or raise strategy.pause_limit',
  },
  'deployment.too_many_failures': {
    status: 502,
    title: 'More servers failed than the environment allows',
    fix: 'See the named servers',
  },
  'approval.own': {
    status: 403,
    title: 'Who asks for a deployment cannot approve it',
    fix: 'Let another deployer or administrator approve it: dploy approve',
  },
  'approval.refused': {
    status: 409,
    title: 'The deployment was refused',
    fix: 'Talk to who refused it, then ask anew: dploy deploy',
  },
  'approval.expired': { status: 409, title: 'Nobody approved the deployment in time', fix: 'Ask anew: dploy deploy' },
  'approval.needs_server': {
    status: 409,
    title: 'A protected environment is deployed to through a control plane alone',
    fix: 'Set DPLOY_URL to the control plane, or take "protected" out of dploy.yml',
  },
} as const satisfies Record<string, ErrorText>
