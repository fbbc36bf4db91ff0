import { stepTones } from '../components/state.tsx'
import { Elapsed } from '../components/time.tsx'
import { healthNote, type LiveDeployment } from './live-deployment.ts'
import { useWatched } from './use-live.ts'

/** Stands where the receipt will be, as high as it, so that nothing jumps when it comes: what is known of it already, and what is being done. */
export function PendingReceipt({ live }: { live: LiveDeployment }) {
  useWatched(live.parts.traffic)
  useWatched(live.parts.head)
  const { counts } = live
  // Of the servers that are waited for the one that said so last is told; its row and the log have the others.
  const waits = waitedFor(live)
  return (
    <section className="card receipt" aria-labelledby="pending-title">
      <header>
        <h2 id="pending-title">Until now</h2>
        <span className="muted grow cut" title={waits ?? live.note}>
          {waits ?? (live.note || 'the receipt follows when it has ended')}
        </span>
      </header>
      <div className="body stack wide">
        <dl className="facts">
          <div>
            <dt>takes</dt>
            <dd className="number">{live.began === null ? '–' : <Elapsed begin={live.began} end={live.ended} />}</dd>
          </div>
          <div>
            <dt>requests seen</dt>
            <dd className="number">{counts ? counts.seen.toLocaleString('en') : '–'}</dd>
          </div>
          <div>
            <dt>noticed</dt>
            <dd className={`number ${counts ? (counts.failed + counts.stalled > 0 ? 'bad' : 'good') : ''}`}>
              {counts ? counts.failed + counts.stalled : '–'}
            </dd>
          </div>
        </dl>
        <div className="stack">
          <h3 className="muted">
            Critical path <span>known when it has ended</span>
          </h3>
          <div className="path" aria-hidden="true" />
        </div>
      </div>
    </section>
  )
}

/** `web1: health check, try 41: GET /healthz on port 3000 answered 500: database pool exhausted`; null: no server says that it waits. */
function waitedFor(live: LiveDeployment): string | null {
  const said = live.servers.order.find(
    ({ state, note }) => note.startsWith(healthNote) && stepTones[state].tone === 'busy',
  )
  return said ? `${said.name}: ${said.note}` : null
}
