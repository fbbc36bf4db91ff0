import { useMutation, useQueryClient } from '@tanstack/react-query'
import type { ServerStatus } from '../../protocol/api/environments.ts'
import { client } from '../api/session.ts'
import { Confirm } from '../components/confirm.tsx'
import { sayProblem } from '../components/toasts.tsx'

/** Takes a server out of traffic, or puts it back. */
export function TrafficButtons({ server }: { server: ServerStatus }) {
  const queryClient = useQueryClient()
  const input = { params: { server: server.name }, body: {} }
  const settled = { onError: sayProblem, onSettled: () => queryClient.invalidateQueries({ queryKey: ['status'] }) }
  const drain = useMutation({ mutationFn: () => client().call('drainServer', input), ...settled })
  const ready = useMutation({ mutationFn: () => client().call('readyServer', input), ...settled })
  if (server.traffic === null) return null
  return server.traffic.admission === 'ready' ? (
    <Confirm
      trigger={
        <button type="button" className="button small" disabled={drain.isPending}>
          {drain.isPending ? 'Draining…' : 'Drain'}
        </button>
      }
      title={`Take ${server.name} out of traffic?`}
      action={`Drain ${server.name}`}
      onConfirm={() => drain.mutate()}
    >
      <p>
        It answers what is in flight ({server.traffic.inFlight} now), then gets nothing new, in any environment, until
        it is made ready again. Deployments leave it out too.
      </p>
    </Confirm>
  ) : (
    <button type="button" className="button small" disabled={ready.isPending} onClick={() => ready.mutate()}>
      {ready.isPending ? 'Putting back…' : 'Make ready'}
    </button>
  )
}
