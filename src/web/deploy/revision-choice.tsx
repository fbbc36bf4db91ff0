import { useQuery } from '@tanstack/react-query'
import { useDeferredValue, useEffect, useState } from 'react'
import type { Revision } from '../../protocol/release-spec.ts'
import { queries } from '../api/queries.ts'
import { Problem } from '../components/problem.tsx'
import { Ago } from '../components/time.tsx'

/** Chooses what is deployed: the environment's branch, another branch or tag, or a commit found by its message. */
export function RevisionChoice({
  application,
  environment,
  value,
  resolved,
  running,
  onChange,
}: {
  application: string
  environment: string
  value: string
  /** What `value` stands for, as the plan beside it has it; null: not known yet. */
  resolved: Revision | null
  running: string | null
  onChange: (revision: string) => void
}) {
  const [search, setSearch] = useState('')
  const wanted = useDeferredValue(search.trim())
  const [entered, setEntered] = useState('')
  const { data, error, isPlaceholderData } = useQuery(queries.revisions(application, environment, wanted))
  if (error && !data) return <Problem report={error as never} />
  const matching = <T extends { name: string }>(names: readonly T[]) =>
    names.filter(({ name }) => name.toLowerCase().includes(wanted.toLowerCase()))
  const commits = data?.commits ?? []
  const branches = matching(data?.branches ?? []).slice(0, wanted === '' ? 4 : 12)
  const tags = matching(data?.tags ?? []).slice(0, wanted === '' ? 4 : 12)
  const { data: unsearched } = useQuery(queries.revisions(application, environment, ''))
  const typed =
    /^[0-9a-f]{4,40}$/i.test(wanted) && !commits.some(({ commit }) => commit?.startsWith(wanted.toLowerCase()))
  const offered = [
    ...(wanted === '' ? [''] : []),
    ...(typed ? [wanted] : []),
    ...branches.map(({ name }) => name),
    ...tags.map(({ name }) => name),
    ...commits.slice(0, 12).map(({ commit }) => commit!),
  ]
  const [only, another] = offered
  // A single hit is taken by Enter, also one that was pressed before the answer was there.
  useEffect(() => {
    if (entered === '' || entered !== wanted || entered !== search.trim() || isPlaceholderData || !data) return
    setEntered('')
    if (only !== undefined && another === undefined) onChange(only)
  }, [entered, wanted, search, isPlaceholderData, data, only, another, onChange])
  // What the button deploys is never out of sight, whatever is searched for.
  const pinned = data !== undefined && !offered.includes(value)
  return (
    <div className="stack">
      <input
        className="input deploy-revision"
        type="search"
        data-search
        aria-label="Search branches, tags and commits"
        placeholder="Search branches, tags and commits"
        value={search}
        onChange={(event) => setSearch(event.target.value)}
        onKeyDown={(event) => {
          if (event.key !== 'Enter' || search.trim() === '') return
          event.preventDefault()
          setEntered(search.trim())
        }}
      />
      <div className="choices" role="radiogroup" aria-label="Revision">
        {pinned ? (
          <Choice
            value={value}
            chosen={value}
            onChange={onChange}
            title={
              value === ''
                ? (unsearched?.branch ?? 'default branch')
                : /^[0-9a-f]{40}$/.test(value)
                  ? value.slice(0, 7)
                  : value
            }
            kind={
              value === '' || unsearched?.branches.some(({ name }) => name === value)
                ? 'branch'
                : unsearched?.tags.some(({ name }) => name === value)
                  ? 'tag'
                  : 'commit'
            }
            revision={resolved}
            running={running}
          />
        ) : null}
        {wanted === '' ? (
          <Choice
            value=""
            chosen={value}
            onChange={onChange}
            title={data?.branch ?? 'default branch'}
            kind="branch"
            revision={commits[0] ?? null}
            running={running}
          />
        ) : null}
        {typed ? (
          <Choice
            value={wanted}
            chosen={value}
            onChange={onChange}
            title={wanted}
            kind="commit"
            revision={null}
            running={running}
          />
        ) : null}
        {branches
          .filter(({ name }) => wanted !== '' || name !== data?.branch)
          .map(({ name, revision }) => (
            <Choice
              key={`b ${name}`}
              value={name}
              chosen={value}
              onChange={onChange}
              title={name}
              kind="branch"
              revision={revision}
              running={running}
            />
          ))}
        {tags.map(({ name, revision }) => (
          <Choice
            key={`t ${name}`}
            value={name}
            chosen={value}
            onChange={onChange}
            title={name}
            kind="tag"
            revision={revision}
            running={running}
          />
        ))}
        {commits.slice(0, 12).map((revision) => (
          <Choice
            key={revision.commit}
            value={revision.commit!}
            chosen={value}
            onChange={onChange}
            title={revision.commit!.slice(0, 7)}
            kind="commit"
            revision={revision}
            running={running}
          />
        ))}
        {data && wanted !== '' && commits.length + branches.length + tags.length === 0 && !typed ? (
          <p className="muted choice">Nothing has "{wanted}" in its name or message.</p>
        ) : null}
      </div>
    </div>
  )
}

function Choice(props: {
  value: string
  chosen: string
  title: string
  kind: 'branch' | 'tag' | 'commit'
  revision: Revision | null
  running: string | null
  onChange: (revision: string) => void
}) {
  const { value, title, kind, revision } = props
  return (
    <label className="choice">
      <input type="radio" name="revision" checked={props.chosen === value} onChange={() => props.onChange(value)} />
      <span className={kind === 'commit' ? 'mono choice-name' : 'choice-name'}>{title}</span>
      {kind === 'commit' ? null : <span className="tag">{kind}</span>}
      <span className="cut grow">{revision?.subject}</span>
      {revision?.commit && revision.commit === props.running ? <span className="tag">runs now</span> : null}
      {revision ? (
        <span className="muted choice-when">
          {revision.author}, <Ago at={revision.time} />
        </span>
      ) : null}
    </label>
  )
}
