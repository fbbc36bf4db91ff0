import { useMutation, useQuery } from '@tanstack/react-query'
import { useNavigate } from 'react-router'
import type { EnvironmentSummary } from '../../protocol/api/environments.ts'
import { queries } from '../api/queries.ts'
import { useMay } from '../api/rights.ts'
import { client } from '../api/session.ts'
import { Confirm } from '../components/confirm.tsx'
import { RevisionLine } from '../components/revision.tsx'
import { sayProblem } from '../components/toasts.tsx'

/** Goes back to the newest release before this one that ever served. One that crashed is not offered. */
export function RollBack({ summary }: { summary: EnvironmentSummary }) {
  const { application, environment, wanted } = summary
  const navigate = useNavigate()
  const may = useMay('deploy', summary)
  const { data } = useQuery({
    ...queries.releases(application, environment),
    enabled: may && wanted !== null,
  })
  const before = data
    ?.filter(({ number, served }) => wanted !== null && number < wanted.release && served !== false)
    .toSorted((a, b) => b.number - a.number)[0]
  const rollback = useMutation({
    mutationFn: () =>
      client().call('rollback', { params: { application, environment }, body: { release: before!.number } }),
    onSuccess: (started) => void navigate(`/deployments/${started.number}`),
    onError: sayProblem,
  })
  if (!may || wanted === null || before === undefined || summary.lock !== null) return null
  return (
    <Confirm
      trigger={
        <button type="button" className="button" data-rollback disabled={rollback.isPending}>
          Roll back to release {before.number}…
        </button>
      }
      title={`Roll ${environment} back to release ${before.number}?`}
      action={`Roll back to release ${before.number}`}
      danger
      command={`dploy rollback ${environment} --release ${before.number}`}
      onConfirm={() => rollback.mutate()}
    >
      <p>
        {application} → {environment} runs release {wanted.release} now:
      </p>
      <RevisionLine revision={wanted.revision} />
      <p>Its servers go back, batch by batch, to release {before.number}:</p>
      <RevisionLine revision={before.revision} />
    </Confirm>
  )
}
