import { useQuery } from '@tanstack/react-query'
import { queries } from '../api/queries.ts'
import { Problem } from '../components/problem.tsx'
import { State } from '../components/state.tsx'
import type { Preview } from './changes.tsx'

/** What was found before: by the plan at once, and by the doctor, who asks every server about more. */
export function Preflight({
  application,
  environment,
  preview,
}: {
  application: string
  environment: string
  preview: Preview
}) {
  const { plan, problems } = preview
  const doctor = useQuery({ ...queries.doctor(application, environment), retry: false })
  const told = new Set(problems.map(({ code, where }) => `${code} ${where ?? ''}`))
  const findings = (doctor.data?.findings ?? []).filter((one) => !told.has(`${one.code} ${one.server ?? ''}`))
  return (
    <>
      {preview.protected ? (
        <p className="warning">{environment} is protected: it begins when another person has approved it.</p>
      ) : null}
      {problems.length + plan.warnings.length === 0 ? (
        <p className="ok">
          {plan.stage.length === 0
            ? 'Nothing was found that stands in the way.'
            : `All ${plan.stage.length} servers answer; nothing stands in the way.`}
        </p>
      ) : null}
      {problems.map((problem, index) => (
        <Problem key={index} report={problem} />
      ))}
      {plan.warnings.map((warning) => (
        <p key={warning} className="warning">
          {warning}
        </p>
      ))}
      <div role="status">
        {doctor.isPending ? (
          <p className="muted">Asking disk, clock, ports, keep-alive and rights of every server…</p>
        ) : doctor.error ? (
          <p className="muted">The doctor could not be asked: {doctor.error.message}</p>
        ) : findings.length === 0 ? (
          <p className="ok">Disk, clock, ports, keep-alive and rights are as they should be.</p>
        ) : (
          <State tone="warn">
            {findings.length} {findings.length === 1 ? 'finding' : 'findings'} of the doctor
          </State>
        )}
      </div>
      {findings.map((one, index) => (
        <Problem
          key={index}
          tone={one.severity === 'error' ? 'bad' : 'warn'}
          report={{
            code: one.code as never,
            message: one.message,
            fix: one.next,
            ...(one.server === null ? {} : { where: one.server }),
          }}
        />
      ))}
    </>
  )
}
