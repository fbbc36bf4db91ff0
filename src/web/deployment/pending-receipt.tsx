import { Elapsed } from '../components/time.tsx'
import type { LiveDeployment } from './live-deployment.ts'

/** Stands where the receipt will be, as high as it, so that nothing jumps when it comes: what is known of it already, and what is being done. */
export function PendingReceipt({ live }: { live: LiveDeployment }) {
  const { counts } = live
  return (
    <section className="card receipt" aria-labelledby="pending-title">
      <header>
        <h2 id="pending-title">Until now</h2>
        <span className="muted grow cut">{live.note || 'the receipt follows when it has ended'}</span>
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
