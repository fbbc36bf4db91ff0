import { useQuery } from '@tanstack/react-query'
import type * as z from 'zod'
import type { routes } from '../../protocol/api/contract.ts'
import { queries } from '../api/queries.ts'
import { RevisionLine } from '../components/revision.tsx'
import { bytes } from '../deployment/receipt.tsx'

export type Preview = z.output<typeof routes.plan.response>

/** What a deployment brings, and what it takes away: commits, files, bytes for each server. */
export function Changes({
  application,
  environment,
  preview,
}: {
  application: string
  environment: string
  preview: Preview
}) {
  const { commitsAhead, commitsLost, plan, revision } = preview
  const files =
    useQuery({
      ...queries.changes(application, environment, revision.commit ?? ''),
      enabled: revision.commit !== null && plan.from !== null,
    }).data?.files ?? null
  return (
    <>
      {commitsAhead.length === 0 ? (
        <p className="muted">
          {plan.from === null
            ? 'The first release here.'
            : revision.commit === null
              ? 'Files that were uploaded; git does not know them.'
              : 'No commit that does not run here already.'}
        </p>
      ) : null}
      {files && files.count > 0 ? (
        <details className="changed-files">
          <summary>
            {commitsAhead.length > 0 ? `${counted(commitsAhead.length, 'commit')}, ` : ''}
            {files.count.toLocaleString('en')} {files.count === 1 ? 'file' : 'files'}, {sizeText(preview, files.bytes)}
          </summary>
          <ul className="mono">
            {files.files.map((file) => (
              <li key={file.path} className="cut">
                {file.change} {file.path}
              </li>
            ))}
          </ul>
        </details>
      ) : (
        <p>{sizeText(preview, null)}</p>
      )}
      <ul className="stack commits">
        {commitsAhead.map((commit) => (
          <li key={commit.commit}>
            <RevisionLine revision={commit} />
          </li>
        ))}
      </ul>
      {commitsLost.length > 0 ? (
        <div className="warning stack" role="note">
          <p>
            <strong>
              {counted(commitsLost.length, 'commit')} that {commitsLost.length === 1 ? 'runs' : 'run'} here now would
              not any more
            </strong>
            : this revision {commitsAhead.length === 0 ? 'is older than what runs' : 'went another way than what runs'}.
          </p>
          <ul className="stack commits">
            {commitsLost.map((commit) => (
              <li key={commit.commit}>
                <RevisionLine revision={commit} />
              </li>
            ))}
          </ul>
        </div>
      ) : null}
    </>
  )
}

function counted(count: number, what: string): string {
  return `${count >= 50 ? '50 or more' : count} ${what}${count === 1 ? '' : 's'}`
}

/** `38 KB per server, built before`. `changed`: the files' own size, uncompressed. */
export function sizeText({ built, transfer }: Pick<Preview, 'built' | 'transfer'>, changed: number | null): string {
  if (transfer !== null) return `${transfer.exact ? '' : 'at most '}${bytes(transfer.bytes)} per server, built before`
  if (built) return 'built before'
  return changed === null ? 'not built yet' : `up to ${bytes(changed)} per server plus build output; not built yet`
}
