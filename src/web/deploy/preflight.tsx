import { useQuery } from '@tanstack/react-query'
import type { ErrorReport } from '../../protocol/errors.ts'
import { queries } from '../api/queries.ts'
import { Problem } from '../components/problem.tsx'
import { State } from '../components/state.tsx'
import type { Preview } from './changes.tsx'

type Report = Pick<ErrorReport, 'code' | 'message' | 'fix' | 'where'>

/** So many names are said of servers that all have the same. */
const named = 5

/** What many servers have alike is told once, with their names; its next step is that of the first. */
export function folded(reports: readonly Report[]): Report[] {
  const own = (text: string, where: string | undefined) =>
    where === undefined ? text : text.replaceAll(where, '\u0000')
  const alike = Map.groupBy(reports, ({ code, message, fix, where }) =>
    where === undefined ? `${code} ${message}` : `${code} ${own(message, where)} ${own(fix, where)}`,
  )
  return [...alike.values()].map((some) => {
    const names = some.flatMap(({ where }) => where ?? [])
    return names.length < 2
      ? some[0]!
      : {
          ...some[0]!,
          where: `${names.length} servers (${names.slice(0, named).join(', ')}${names.length > named ? ', …' : ''})`,
        }
  })
}

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
  const asked = doctor.data ? (doctor.data.asked ?? doctor.data.servers).length : 0
  const all = doctor.data?.servers.length ?? 0
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
            : `All ${plan.stage.length} servers are reachable.`}
        </p>
      ) : null}
      {folded(problems).map((problem, index) => (
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
        ) : asked < all ? (
          <State tone="warn">
            Disk, clock, ports, keep-alive and rights could be asked on {asked} of {all} servers
          </State>
        ) : findings.length === 0 ? (
          <p className="ok">Disk, clock, ports, keep-alive and permissions: OK.</p>
        ) : (
          <State tone="warn">
            {findings.length} {findings.length === 1 ? 'finding' : 'findings'} of the doctor
          </State>
        )}
      </div>
      {(['error', 'warning'] as const).flatMap((severity) =>
        folded(
          findings
            .filter((one) => one.severity === severity)
            .map((one) => ({
              code: one.code as never,
              message: one.message,
              fix: one.next,
              ...(one.server === null ? {} : { where: one.server }),
            })),
        ).map((report, index) => (
          <Problem key={`${severity} ${index}`} tone={severity === 'error' ? 'bad' : 'warn'} report={report} />
        )),
      )}
    </>
  )
}
