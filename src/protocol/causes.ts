/**
 * Why users notice a deployment, or why it takes long: every cause that a receipt names. docs/causes.md has a section
 * for each (a test checks). `noticed`: requests failed or stalled. `slow`: only time was lost.
 */
export const causeTable = {
  killed_in_flight: {
    title: 'killed in flight',
    of: 'noticed',
    meaning: 'The old process was ended while it still answered this request.',
  },
  socket_closed_at_once: {
    title: 'socket closed at once',
    of: 'noticed',
    meaning: 'The application gave up its requests the moment that it was asked to stop.',
  },
  refused_while_registered: {
    title: 'connection refused while registered',
    of: 'noticed',
    meaning: 'Nothing listened on a server that traffic still went to.',
  },
  balancer_unaware: {
    title: 'balancer not yet aware',
    of: 'noticed',
    meaning: 'The balancer went on sending to a server that was restarting, until its own check noticed.',
  },
  not_ready: {
    title: 'healthy before it was ready',
    of: 'noticed',
    meaning: 'The health check succeeded, and then the application could not answer yet.',
  },
  new_release_fails: {
    title: 'the new release fails',
    of: 'noticed',
    meaning: 'Servers answered with errors from the time on when they ran the new release.',
  },
  hook_stopped_service: {
    title: 'a hook stopped the service',
    of: 'noticed',
    meaning: 'The service stopped answering while a hook ran on a server in traffic.',
  },
  keep_alive_race: {
    title: 'keep-alive race',
    of: 'noticed',
    meaning: 'A kept connection was closed in the instant in which it was used again.',
  },
  old_assets_missing: {
    title: "old release's assets missing",
    of: 'noticed',
    meaning: 'A file that pages of the old release ask for was gone with the new one.',
  },
  balancer_reload: {
    title: 'balancer reload',
    of: 'noticed',
    meaning: 'The balancer was reloaded or restarted, and ended connections.',
  },
  outside: {
    title: "outside dploy's doing",
    of: 'noticed',
    meaning: 'Nothing that the deployment did fits this request.',
  },
  stop_ignored: {
    title: 'the signal to stop was ignored',
    of: 'slow',
    meaning: 'The old processes did not end when they were asked to, and were killed when their time was up.',
  },
  slow_boot: {
    title: 'slow boot',
    of: 'slow',
    meaning: 'The application takes long from its start to its first healthy answer.',
  },
  slow_drain: { title: 'slow drain', of: 'slow', meaning: 'Requests in flight kept servers from switching.' },
  slow_register: {
    title: 'balancer slow to see a server up',
    of: 'slow',
    meaning: 'A healthy server waited for the balancer to put it back.',
  },
} as const satisfies Record<string, CauseDescription>

export interface CauseDescription {
  title: string
  of: 'noticed' | 'slow'
  meaning: string
}
export type CauseId = keyof typeof causeTable
export const causeIds = Object.keys(causeTable) as [CauseId, ...CauseId[]]
