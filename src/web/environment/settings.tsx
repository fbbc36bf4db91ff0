import { useQuery } from '@tanstack/react-query'
import { useParams } from 'react-router'
import { queries } from '../api/queries.ts'
import { useMay } from '../api/rights.ts'
import { CommandLine } from '../components/command-line.tsx'
import { Skeleton } from '../components/empty.tsx'
import { Problem } from '../components/problem.tsx'
import { useTitle } from '../shell/use-title.ts'
import { Badge } from './settings/badge.tsx'
import { Balancer } from './settings/balancer.tsx'
import { ConfigFile } from './settings/config-file.tsx'
import { Notifications } from './settings/notifications.tsx'
import { Secrets } from './settings/secrets.tsx'
import { SettingList } from './settings/setting-list.tsx'
import { Variables } from './settings/variables.tsx'
import '../settings/settings.css'

/** What an environment is set to: its dploy.yml and what it means, variables, secrets, balancer, who is told. */
export default function EnvironmentSettings() {
  const { application = '', environment = '' } = useParams()
  useTitle(`Settings · ${application} → ${environment}`)
  const may = useMay('deploy', { application, environment })
  const { data, error } = useQuery({ ...queries.settings(application, environment), enabled: may })
  const settings = data ?? null
  const of = (...names: string[]) => (settings?.settings ?? []).filter(({ key }) => names.includes(key.split('.')[0]!))
  return (
    <div className="stack wide">
      {error && !data ? <Problem report={error as never} /> : null}
      {may && !settings && !error ? <Skeleton lines={4} tall /> : null}
      {settings ? <ConfigFile settings={settings} environment={environment} /> : null}
      {settings ? <Variables variables={settings.variables} /> : null}
      <Secrets application={application} environment={environment} wanted={settings?.secrets ?? []} />
      <Balancer application={application} environment={environment} settings={settings} />
      {settings ? (
        <section className="card" aria-label="Strategy">
          <header className="wraps">
            <h2 className="grow">Strategy and time limits</h2>
            <CommandLine command={`dploy settings ${environment}`} />
          </header>
          <SettingList
            settings={of('strategy', 'timeouts', 'branch', 'on_push', 'protected', 'badge')}
            label="What is in force of the strategy"
          />
        </section>
      ) : null}
      {settings ? (
        <section className="card" aria-label="Build and service">
          <header>
            <h2 className="grow">Build, release and service</h2>
          </header>
          <SettingList
            settings={of('source', 'build', 'release', 'service', 'hooks', 'release_command')}
            label="What is in force of build and service"
          />
        </section>
      ) : null}
      <Notifications application={application} environment={environment} />
      <Badge application={application} environment={environment} />
    </div>
  )
}
