import { useMutation } from '@tanstack/react-query'
import type { EnvironmentSettings } from '../../../protocol/api/settings.ts'
import { client } from '../../api/session.ts'
import { CommandLine } from '../../components/command-line.tsx'
import { Problem } from '../../components/problem.tsx'
import { State } from '../../components/state.tsx'
import { sayProblem } from '../../components/toasts.tsx'
import { balancerNames } from './balancer-names.ts'
import { SettingList } from './setting-list.tsx'

/** What the balancer is set to; asks servers, balancer and source now whether a deployment would meet what it needs. */
export function Balancer({
  application,
  environment,
  settings,
}: {
  application: string
  environment: string
  settings: EnvironmentSettings | null
}) {
  const check = useMutation({
    mutationFn: () => client().call('doctor', { params: { application, environment } }),
    onError: sayProblem,
  })
  return (
    <section className="card" aria-label="Balancer and servers">
      <header>
        <h2>Balancer and servers</h2>
        <span className="grow" />
        {settings ? <span className="muted">{balancerNames[settings.balancer] ?? settings.balancer}</span> : null}
        <CommandLine command={`dploy doctor ${environment}`} />
        <button type="button" className="button" disabled={check.isPending} onClick={() => check.mutate()}>
          {check.isPending ? 'Asking…' : 'Test now'}
        </button>
      </header>
      <div className="body stack" role="status">
        {!check.data ? (
          <p className="muted">
            Asks the balancer and every server what would go wrong in a deployment. Changes nothing.
          </p>
        ) : check.data.findings.length === 0 ? (
          <State tone="good">
            The balancer and {check.data.servers.length} servers answer; nothing would go wrong.
          </State>
        ) : null}
        {check.data?.findings.map((one, index) => (
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
      </div>
      {settings && settings.balancer !== 'none' ? (
        <SettingList
          settings={settings.settings.filter(({ key }) => key.startsWith('balancer.') || key.startsWith('probe'))}
          label="Settings of the balancer"
        />
      ) : null}
    </section>
  )
}
