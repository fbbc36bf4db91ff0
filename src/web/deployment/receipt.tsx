import type { CriticalPiece, Receipt } from '../../protocol/receipt.ts'
import { groupOf } from '../../protocol/waterfall.ts'
import { duration } from '../components/time.tsx'

/** What the deployment measured: where each second went, and each request that somebody would have noticed, with its cause. */
export function ReceiptCard({ receipt }: { receipt: Receipt }) {
  const { traffic } = receipt
  const noticed = traffic.failed + traffic.stalled
  return (
    <section className="card receipt" aria-labelledby="receipt-title">
      <header>
        <h2 id="receipt-title">Receipt</h2>
        <span className="muted">what this deployment measured</span>
      </header>
      <div className="body stack wide">
        <dl className="facts">
          <Fact title="took" value={duration(receipt.finishedAt - receipt.startedAt)} />
          <Fact title="floor" value={duration(receipt.floor.ms)} hint="The fastest that it could have been: transfer, unpack, switch, boot and health check of the slowest server of each batch" />
          <Fact title="waited on purpose" value={duration(receipt.waiting.ms)} hint="Requests in flight, bake time and your own commands" />
          <Fact title="overhead" value={duration(receipt.overheadMs)} hint="What dploy itself cost" />
          <Fact title="moved" value={bytes(receipt.bytes)} hint={`${receipt.objects} files`} />
          <Fact title="requests seen" value={traffic.source === 'none' ? 'not measured' : traffic.seen.toLocaleString('en')} />
          <Fact title="noticed" value={traffic.source === 'none' ? 'not measured' : String(noticed)} tone={traffic.source === 'none' ? '' : noticed === 0 ? 'good' : 'bad'} hint="Failed or stalled" />
        </dl>
        <CriticalPath pieces={receipt.criticalPath} total={receipt.finishedAt - receipt.startedAt} />
        {traffic.noticed.length > 0 ? <Noticed receipt={receipt} /> : null}
      </div>
    </section>
  )
}

function Fact({ title, value, hint, tone = '' }: { title: string; value: string; hint?: string; tone?: string }) {
  return (
    <div title={hint}>
      <dt>{title}</dt>
      <dd className={`number ${tone}`}>{value}</dd>
    </div>
  )
}

function CriticalPath({ pieces, total }: { pieces: readonly CriticalPiece[]; total: number }) {
  const longest = pieces.toSorted((a, b) => b.ms - a.ms).slice(0, 5)
  return (
    <div className="stack">
      <h3>Critical path <span className="muted">what it could not end without</span></h3>
      <div className="path" aria-hidden="true">
        {pieces.map((piece, index) => (
          <span key={index} className={`do-${piece.name === 'bake' ? 'command' : groupOf(piece.name)}`} style={{ width: `${(piece.ms / total) * 100}%` }} title={`${piece.server ?? 'control plane'}: ${piece.name} ${duration(piece.ms)}`} />
        ))}
      </div>
      <ul className="path-list">
        {longest.map((piece, index) => (
          <li key={index}><span className="number">{duration(piece.ms)}</span> {piece.name.replaceAll('_', ' ')} <span className="muted">{piece.server ?? 'control plane'}</span></li>
        ))}
      </ul>
    </div>
  )
}

function Noticed({ receipt }: { receipt: Receipt }) {
  return (
    <div className="stack">
      <h3>Noticed requests</h3>
      <div className="table-box">
        <table className="table">
          <thead><tr><th>at</th><th>what</th><th>took</th><th>while</th></tr></thead>
          <tbody>
            {receipt.traffic.noticed.slice(0, 50).map((request, index) => (
              <tr key={index}>
                <td className="number">{duration(request.at)}</td>
                <td>{request.what}{request.status === null ? '' : ` with ${request.status}`}{request.error ? `: ${request.error}` : ''}</td>
                <td className="number">{duration(request.ms)}</td>
                <td>{request.during.slice(0, 2).map((one) => `${one.name.replaceAll('_', ' ')}${one.servers.length > 0 ? ` on ${one.servers.join(', ')}` : ''}`).join('; ') || 'nothing of dploy ran'}</td>
              </tr>
            ))}
          </tbody>
        </table>
      </div>
    </div>
  )
}

export function bytes(count: number): string {
  if (count < 1_000) return `${count} B`
  if (count < 1_000_000) return `${(count / 1_000).toFixed(count < 10_000 ? 1 : 0)} KB`
  return `${(count / 1_000_000).toFixed(1)} MB`
}
