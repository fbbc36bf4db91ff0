import { useEffect, useRef } from 'react'
import { causeFigures } from '../../protocol/cause-figures.ts'
import { causeTable, type CauseId } from '../../protocol/causes.ts'
import type { Cause, CriticalPiece, NoticedRequest, Receipt } from '../../protocol/receipt.ts'
import { groupOf } from '../../protocol/waterfall.ts'
import { CommandLine, CopyButton } from '../components/command-line.tsx'
import { duration } from '../components/time.tsx'

/** What the deployment measured: where each second went, and each request that somebody would have noticed, with its cause. */
export function ReceiptCard({ receipt }: { receipt: Receipt }) {
  const { traffic } = receipt
  const noticed = traffic.failed + traffic.stalled
  const card = useRef<HTMLElement>(null)
  // Who opens the link that was shared wants to see the receipt; the browser could not find it while the page was being made.
  useEffect(() => {
    if (location.hash === '#receipt') card.current!.scrollIntoView({ block: 'start' })
  }, [])
  return (
    <section ref={card} id="receipt" className="card receipt" aria-labelledby="receipt-title">
      <header>
        <h2 id="receipt-title">Receipt</h2>
        <span className="muted grow cut">what this deployment measured</span>
        <CommandLine command={`dploy explain ${receipt.number}`} />
        <CopyButton
          text={`${location.origin}/deployments/${receipt.number}#receipt`}
          label="Copy a link to this receipt"
        >
          <span>
            Share<span className="hidden"> this receipt</span>
          </span>
        </CopyButton>
      </header>
      <div className="body stack wide">
        <dl className="facts">
          <Fact title="took" value={duration(receipt.finishedAt - receipt.startedAt)} />
          <Fact
            title="floor"
            value={duration(receipt.floor.ms)}
            hint="The fastest that it could have been: transfer, unpack, switch, boot and health check of the slowest server of each batch"
          />
          <Fact
            title="planned waits"
            value={duration(receipt.waiting.ms)}
            hint="Requests in flight, bake time and your own commands"
          />
          <Fact title="overhead" value={duration(receipt.overheadMs)} hint="What dploy itself cost" />
          <Fact title="moved" value={bytes(receipt.bytes)} hint={`${receipt.objects} files`} />
          <Fact
            title="requests seen"
            value={traffic.source === 'none' ? 'not measured' : traffic.seen.toLocaleString('en')}
          />
          <Fact
            title="noticed"
            value={traffic.source === 'none' ? 'not measured' : String(noticed)}
            tone={traffic.source === 'none' ? '' : noticed === 0 ? 'good' : 'bad'}
            hint="Failed or stalled"
          />
        </dl>
        {receipt.causes.length > 0 ? <Causes causes={receipt.causes} /> : null}
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
      <h3>
        Critical path <span className="muted">what set the total time</span>
      </h3>
      <div className="path" aria-hidden="true">
        {pieces.map((piece, index) => (
          <span
            key={index}
            className={`do-${piece.name === 'bake' ? 'command' : groupOf(piece.name)}`}
            style={{ width: `${(piece.ms / total) * 100}%` }}
            title={`${piece.server ?? 'control plane'}: ${piece.name} ${duration(piece.ms)}`}
          />
        ))}
      </div>
      <ul className="path-list">
        {longest.map((piece, index) => (
          <li key={index}>
            <span className="number">{duration(piece.ms)}</span> {piece.name.replaceAll('_', ' ')}{' '}
            <span className="muted">{piece.server ?? 'control plane'}</span>
          </li>
        ))}
      </ul>
    </div>
  )
}

const places = {
  'dploy.yml': 'In dploy.yml',
  balancer: 'In the balancer’s configuration',
  application: 'In the application',
} as const

/** Why users noticed, or what took long: what says so, and what to change. */
function Causes({ causes }: { causes: readonly Cause[] }) {
  return (
    <div className="stack">
      <h3>
        {causes.some((cause) => causeTable[cause.id].of === 'noticed') ? 'Why it was noticed' : 'What made it slow'}
      </h3>
      <ol className="stack causes">
        {causes.map((cause, index) => (
          <li key={index} id={`cause-${cause.id}`} className="cause stack">
            <div className="row wrap">
              <strong>{causeTable[cause.id].title}</strong>
              {causeFigures(cause).map((figure) => (
                <span key={figure} className="tag">
                  {figure}
                </span>
              ))}
            </div>
            <p>{causeTable[cause.id].meaning}</p>
            <ul className="muted evidence">
              {cause.evidence.map((one) => (
                <li key={one}>{one}</li>
              ))}
            </ul>
            <p>
              <strong>What to do: </strong>
              {cause.suggestion.text}.
            </p>
            {cause.suggestion.lines.length > 0 ? (
              <div className="snippet" role="group" aria-label={places[cause.suggestion.where]}>
                <header className="row">
                  <span className="muted grow">{places[cause.suggestion.where]}</span>
                  <CopyButton text={`${cause.suggestion.lines.join('\n')}\n`} label="Copy the lines" />
                </header>
                <pre tabIndex={0}>{cause.suggestion.lines.join('\n')}</pre>
              </div>
            ) : null}
          </li>
        ))}
      </ol>
    </div>
  )
}

/** More rows than this say nothing new; the API has them. */
const noticedRows = 50

function Noticed({ receipt }: { receipt: Receipt }) {
  const { noticed, failed, stalled } = receipt.traffic
  const told = new Set(receipt.causes.map(({ id }) => id))
  return (
    <div className="stack">
      <h3>Noticed requests</h3>
      <div className="table-box noticed" role="region" aria-label="Noticed requests" tabIndex={0}>
        <table className="table">
          <thead>
            <tr>
              <th>at</th>
              <th>what</th>
              <th>took</th>
              <th>where</th>
              <th>while</th>
              <th>because</th>
            </tr>
          </thead>
          <tbody>
            {noticed.slice(0, noticedRows).map((request, index) => (
              <tr key={index}>
                <td className="number nowrap">{duration(request.at)}</td>
                <td>
                  {request.method} {request.what}
                  {request.status === null ? '' : ` with ${request.status}`}
                  {request.error ? `: ${request.error}` : ''}
                </td>
                <td className="number nowrap">{duration(request.ms)}</td>
                <td className="nowrap">{request.server ?? '–'}</td>
                <td>{duringText(request)}</td>
                <td>
                  <CauseName id={request.cause} told={told} />
                </td>
              </tr>
            ))}
          </tbody>
        </table>
      </div>
      {failed + stalled > Math.min(noticed.length, noticedRows) ? (
        <p className="muted">
          The first {Math.min(noticed.length, noticedRows)} of {(failed + stalled).toLocaleString('en')}.
        </p>
      ) : null}
    </div>
  )
}

/** The cause's name; leads to what is told of it above. */
function CauseName({ id, told }: { id: CauseId | null; told: ReadonlySet<CauseId> }) {
  if (id === null) return <span className="muted">not judged</span>
  const { title, meaning } = causeTable[id]
  return told.has(id) ? (
    <a href={`#cause-${id}`} title={meaning}>
      {title}
    </a>
  ) : (
    <span title={meaning}>{title}</span>
  )
}

function duringText({ during }: Pick<NoticedRequest, 'during'>): string {
  return (
    during
      .slice(0, 2)
      .map((one) => `${one.name.replaceAll('_', ' ')}${one.servers.length > 0 ? ` on ${one.servers.join(', ')}` : ''}`)
      .join('; ') || 'nothing of dploy ran'
  )
}

export function bytes(count: number): string {
  if (count < 1_000) return `${count} B`
  if (count < 1_000_000) return `${(count / 1_000).toFixed(count < 10_000 ? 1 : 0)} KB`
  return `${(count / 1_000_000).toFixed(1)} MB`
}
