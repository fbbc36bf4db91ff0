import { readdirSync } from 'node:fs'
import { isFinal } from '../deploy/run/states.ts'
import type { DeploymentState } from '../../protocol/deployment.ts'
import type { ApiContext } from '../api/context.ts'
import { Exposition, Histogram } from './exposition.ts'

/** Upper bounds of how long deployments take. Seconds. */
const bounds = [0.5, 1, 2.5, 5, 10, 20, 30, 60, 120, 300, 900]

/** The metrics as Prometheus reads them. What is about deployments is made of the records, so that a restart changes nothing. */
export async function* metricsText(
  context: Pick<ApiContext, 'store' | 'gateway' | 'measured' | 'version'>,
): AsyncGenerator<string> {
  const { store, gateway, measured } = context
  const [groups, totals, servers] = await Promise.all([
    store.figures.deployments(bounds.map((bound) => bound * 1_000)),
    measured.receipts.upTo(store.figures),
    store.figures.servers(),
  ])
  const over = groups.filter(({ state }) => isFinal(state as DeploymentState))
  const at = ({ application, environment }: { application: string; environment: string }) => ({
    application,
    environment,
  })
  const perRoute = [...measured.requests.values()]
  const cpu = process.cpuUsage()
  yield new Exposition()
    .gauge('dploy_info', 'The running control plane.', [[{ version: context.version, node: process.version }, 1]])
    .counter(
      'dploy_deployments_ended_total',
      'Deployments that are over, by how they ended.',
      over.map((group) => [{ ...at(group), kind: group.kind, state: group.state }, group.count]),
    )
    .gauge(
      'dploy_deployments_under_way',
      'Deployments that are not over, by where they stand.',
      groups
        .filter((group) => !over.includes(group))
        .map((group) => [{ ...at(group), kind: group.kind, state: group.state }, group.count]),
    )
    .histogram(
      'dploy_deployment_duration_seconds',
      'How long deployments took, from their beginning to their end.',
      over.map((group) => {
        const histogram = new Histogram(bounds)
        histogram.count = group.ended
        histogram.sum = group.total / 1_000
        for (const [index, count] of group.within.entries()) histogram.counts[index] = count
        return [{ ...at(group), kind: group.kind, state: group.state }, histogram]
      }),
    )
    .counter(
      'dploy_phase_seconds_total',
      'Time that deployments spent in each phase.',
      totals.flatMap((total) =>
        [...total.phases].map(([phase, seconds]) => [{ ...at(total), phase }, seconds] as const),
      ),
    )
    .counter(
      'dploy_probe_requests_total',
      'Requests that probes sent during deployments.',
      totals.map((total) => [at(total), total.seen]),
    )
    .counter(
      'dploy_probe_requests_failed_total',
      'Requests of probes that failed during deployments.',
      totals.map((total) => [at(total), total.failed]),
    )
    .counter(
      'dploy_probe_requests_stalled_total',
      'Requests of probes that stalled during deployments.',
      totals.map((total) => [at(total), total.stalled]),
    )
    .counter(
      'dploy_sent_bytes_total',
      'Bytes that deployments sent to servers.',
      totals.map((total) => [at(total), total.bytes]),
    )
    .gauge('dploy_servers', 'Servers that are known.', [[{}, servers]])
    .gauge('dploy_agents_connected', 'Agents that are connected.', [[{}, gateway.connected]])
    .histogram('dploy_event_stored_seconds', 'From what happened in a deployment until its event was stored.', [
      [{}, store.events.stored],
    ])
    .gauge('dploy_event_streams', 'Streams that are open.', [[{}, measured.streams]])
    .histogram(
      'dploy_http_request_duration_seconds',
      'Answered requests to the API.',
      perRoute.map(({ labels, seconds }) => [labels, seconds]),
    )
    .counter('process_cpu_seconds_total', 'Time of processors that was used.', [[{}, (cpu.user + cpu.system) / 1e6]])
    .gauge('process_resident_memory_bytes', 'Memory in use.', [[{}, process.memoryUsage.rss()]])
    .gauge('process_start_time_seconds', 'When the process began, in seconds since 1970.', [
      [{}, (Date.now() - process.uptime() * 1_000) / 1_000],
    ])
    .gauge('process_open_fds', 'Open files and connections.', openFiles())
    .gauge('nodejs_eventloop_lag_p99_seconds', 'How late the event loop came around, 99 of 100 times at most.', [
      [{}, measured.loop.percentile(99) / 1e9],
    ])
    .gauge('nodejs_heap_size_used_bytes', 'Heap in use.', [[{}, process.memoryUsage().heapUsed]]).text
}

/** Nothing where the system does not tell. */
function openFiles(): [Record<string, string>, number][] {
  try {
    return [[{}, readdirSync('/proc/self/fd').length]]
  } catch {
    return []
  }
}
