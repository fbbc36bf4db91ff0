import { queryOptions } from '@tanstack/react-query'
import { client } from '../api/session.ts'

/** What the pages of servers ask beside their status. How often, in milliseconds: agents tell how they are every half minute. */
const health = 8_000
const load = 15_000

interface Place {
  application: string
  environment: string
}

export const serverQueries = {
  health: (params: Place) =>
    queryOptions({
      queryKey: ['servers-health', params],
      queryFn: ({ signal }) => client().call('serversHealth', { params }, { signal }),
      refetchInterval: health,
      select: ({ servers }) => new Map(servers.map((server) => [server.name, server])),
    }),
  /** Of all servers, as many samples as a sparkline shows. */
  vitals: (params: Place) =>
    queryOptions({
      queryKey: ['vitals', params],
      queryFn: ({ signal }) => client().call('vitals', { params, query: { points: 24 } }, { signal }),
      refetchInterval: load,
      select: ({ servers }) => new Map(servers.map((server) => [server.name, server])),
    }),
  vitalsOf: (params: Place, server: string) =>
    queryOptions({
      queryKey: ['vitals', params, server],
      queryFn: ({ signal }) => client().call('vitals', { params, query: { server, points: 120 } }, { signal }),
      refetchInterval: load,
      select: ({ servers }) => servers[0],
    }),
  history: (params: Place, server: string) =>
    queryOptions({
      queryKey: ['server-history', params, server],
      queryFn: ({ signal }) =>
        client().call('serverHistory', { params: { ...params, server }, query: { limit: 20 } }, { signal }),
      refetchInterval: health,
      select: ({ steps }) => steps,
    }),
  readiness: (params: Place) =>
    queryOptions({
      queryKey: ['readiness', params],
      queryFn: ({ signal }) => client().call('releaseReadiness', { params, query: { limit: 200 } }, { signal }),
      refetchInterval: load,
    }),
  one: (server: string) =>
    queryOptions({
      queryKey: ['server', server],
      queryFn: ({ signal }) => client().call('server', { params: { server } }, { signal }),
      refetchInterval: load,
    }),
}
