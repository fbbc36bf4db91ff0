import { keepPreviousData, QueryClient, queryOptions } from '@tanstack/react-query'
import { DployError } from '../../protocol/errors.ts'
import { connection } from './connection.ts'
import { client, isSignedOut, session } from './session.ts'

/** What pages ask the control plane, each named once, so that every page shows the same answer. */

export const queryClient = new QueryClient({
  defaultOptions: {
    mutations: { networkMode: 'always' },
    queries: {
      // Whether there is a connection is told by what does not come back (connection.ts), not by the browser's guess.
      networkMode: 'always',
      staleTime: 500,
      // What the control plane refused is not asked again; what did not reach it is, once it answers.
      retry: false,
      refetchOnWindowFocus: true,
    },
  },
})

queryClient.getQueryCache().subscribe((event) => {
  if (event.type === 'updated' && event.action.type === 'error' && isSignedOut(event.action.error)) session.ended()
})
connection.subscribe(() => {
  if (connection.lostSince === null) void queryClient.invalidateQueries()
})

/** How often pages ask for what they are not told of (changes.ts): what only the servers know, and what is sent. Milliseconds. */
const later = 4_000
/** How often they ask for the rest all the same. Milliseconds. */
const seldom = 30_000

export const queries = {
  environments: () =>
    queryOptions({
      queryKey: ['environments'],
      queryFn: ({ signal }) => client().call('environments', undefined, { signal }),
      refetchInterval: seldom,
      select: (data) => data.environments,
    }),
  /** `often`: the page that shows what only the servers know; elsewhere the number of what waits is enough. */
  overview: (often: boolean) =>
    queryOptions({
      queryKey: ['overview'],
      queryFn: ({ signal }) => client().call('overview', undefined, { signal }),
      refetchInterval: often ? later : seldom,
      select: (data) => data.environments,
    }),
  status: (application: string, environment: string) =>
    queryOptions({
      queryKey: ['status', application, environment],
      queryFn: ({ signal }) =>
        client().call('status', { params: { application, environment }, query: { within: later - 500 } }, { signal }),
      refetchInterval: later,
    }),
  deployments: (filter: { application?: string; environment?: string; limit?: number } = {}) =>
    queryOptions({
      queryKey: ['deployments', filter],
      queryFn: ({ signal }) => client().call('deploymentSummaries', { query: filter }, { signal }),
      refetchInterval: seldom,
      select: (data) => data.deployments,
    }),
  doctor: (application: string, environment: string) =>
    queryOptions({
      queryKey: ['doctor', application, environment],
      queryFn: ({ signal }) => client().call('doctor', { params: { application, environment } }, { signal }),
      staleTime: 30_000,
    }),
  /** By day of this browser. */
  days: () =>
    queryOptions({
      queryKey: ['days'],
      queryFn: ({ signal }) =>
        client().call('deploymentDays', { query: { days: 14, offset: -new Date().getTimezoneOffset() } }, { signal }),
      refetchInterval: 60_000,
    }),
  /** `commits`: what both run, by which the answer is kept. */
  ahead: (application: string, environment: string, of: string, commits: string) =>
    queryOptions({
      queryKey: ['ahead', application, environment, of, commits],
      queryFn: ({ signal }) =>
        client().call('ahead', { params: { application, environment }, query: { of } }, { signal }),
      staleTime: Infinity,
    }),
  deployment: (number: number) =>
    queryOptions({
      queryKey: ['deployment', number],
      queryFn: ({ signal }) => client().call('deploymentSummary', { params: { number } }, { signal }),
      refetchInterval: ({ state }) => (state.data && state.data.finishedAt === null ? seldom : false),
    }),
  people: () =>
    queryOptions({
      queryKey: ['people'],
      queryFn: ({ signal }) => client().call('people', undefined, { signal }),
      select: (data) => data.people,
    }),
  tokens: () =>
    queryOptions({
      queryKey: ['tokens'],
      queryFn: ({ signal }) => client().call('tokens', undefined, { signal }),
      select: (data) => data.tokens,
    }),
  sessions: () =>
    queryOptions({
      queryKey: ['sessions'],
      queryFn: ({ signal }) => client().call('sessions', undefined, { signal }),
      select: (data) => data.sessions,
    }),
  webhooks: () =>
    queryOptions({
      queryKey: ['webhooks'],
      queryFn: ({ signal }) => client().call('webhooks', undefined, { signal }),
      refetchInterval: seldom,
      select: (data) => data.webhooks,
    }),
  deliveries: (webhook: string) =>
    queryOptions({
      queryKey: ['deliveries', webhook],
      queryFn: ({ signal }) => client().call('deliveries', { params: { webhook }, query: {} }, { signal }),
      refetchInterval: seldom,
      select: (data) => data.deliveries,
    }),
  secrets: (application: string, environment: string) =>
    queryOptions({
      queryKey: ['secrets', application, environment],
      queryFn: ({ signal }) => client().call('secrets', { params: { application, environment } }, { signal }),
      select: (data) => data.secrets,
    }),
  settings: (application: string, environment: string) =>
    queryOptions({
      queryKey: ['settings', application, environment],
      queryFn: ({ signal }) => client().call('settings', { params: { application, environment } }, { signal }),
      staleTime: later,
    }),
  notifications: (application: string, environment: string) =>
    queryOptions({
      queryKey: ['notifications', application, environment],
      queryFn: ({ signal }) => client().call('notifications', { params: { application, environment } }, { signal }),
      refetchInterval: later,
      select: (data) => data.targets,
    }),
  badge: (application: string, environment: string) =>
    queryOptions({
      queryKey: ['badge', application, environment],
      queryFn: ({ signal }) => client().call('badgeAddress', { params: { application, environment } }, { signal }),
      staleTime: later,
    }),
  releases: (application: string, environment: string) =>
    queryOptions({
      queryKey: ['releases', application, environment],
      queryFn: ({ signal }) =>
        client().call('releases', { params: { application, environment }, query: { limit: 200 } }, { signal }),
      refetchInterval: seldom,
      select: (data) => data.releases,
    }),
  revisions: (application: string, environment: string, search: string) =>
    queryOptions({
      queryKey: ['revisions', application, environment, search],
      queryFn: ({ signal }) =>
        client().call('revisions', { params: { application, environment }, query: { search } }, { signal }),
      staleTime: 5_000,
      // What was pushed since the page was last open is there at once.
      refetchOnMount: 'always',
      placeholderData: keepPreviousData,
    }),
  changes: (application: string, environment: string, revision: string) =>
    queryOptions({
      queryKey: ['changes', application, environment, revision],
      queryFn: ({ signal }) =>
        client().call('changes', { params: { application, environment }, query: { revision } }, { signal }),
      staleTime: 60_000,
    }),
  difference: (application: string, environment: string, from: number, to: number) =>
    queryOptions({
      queryKey: ['difference', application, environment, from, to],
      queryFn: ({ signal }) =>
        client().call('compareReleases', { params: { application, environment, from, to } }, { signal }),
      staleTime: Infinity,
    }),
  /** `promote`: the environment whose release is taken. */
  plan: (application: string, environment: string, revision: string | undefined, promote?: string) =>
    queryOptions({
      queryKey: ['plan', application, environment, revision ?? null, promote ?? null],
      queryFn: ({ signal }) =>
        client().call(
          'plan',
          {
            params: { application, environment },
            body:
              promote !== undefined
                ? { promote: { environment: promote } }
                : revision === undefined
                  ? {}
                  : { revision },
          },
          { signal },
        ),
      staleTime: 10_000,
      // A plan from before is none: what it shows is what the button deploys.
      gcTime: 0,
    }),
}

/** Any error as one of dploy's. */
export function asProblem(error: unknown): DployError {
  return error instanceof DployError
    ? error
    : new DployError('internal', error instanceof Error ? error.message : String(error))
}
