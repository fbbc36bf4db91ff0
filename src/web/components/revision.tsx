import type { Revision } from '../../protocol/release-spec.ts'

/** A revision as people know it: short hash, first line of the message, author. */
export function RevisionLine({ revision, who = true }: { revision: Revision | null; who?: boolean }) {
  if (revision === null) return <span className="muted">no revision yet</span>
  const first = revision.subject
  return (
    <span className="revision">
      <code title={revision.commit ?? undefined}>{revision.commit?.slice(0, 7) ?? 'files'}</code>
      <span className="cut" title={revision.subject}>
        {first || 'uploaded from a directory'}
      </span>
      {who && revision.author ? <span className="who">{revision.author}</span> : null}
    </span>
  )
}
