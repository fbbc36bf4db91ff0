import { Dialog } from '@base-ui/react/dialog'
import { useQuery } from '@tanstack/react-query'
import { Link } from 'react-router'
import { formatBytes } from '../../protocol/bytes.ts'
import type { ServerStep } from '../../protocol/api/vitals.ts'
import { Icon } from '../components/icon.tsx'
import { CommandLine } from '../components/command-line.tsx'
import { Problem } from '../components/problem.tsx'
import { State, stepTones } from '../components/state.tsx'
import { Ago, duration } from '../components/time.tsx'
import { Lines } from '../environment/logs.tsx'
import { placeOf } from '../overview/place.ts'
import { Tags, type ServerPlace } from './columns.tsx'
import { serverQueries } from './queries.ts'
import { healthText, stateOf, type ServerRow } from './rows.ts'
import { TrafficButtons } from './traffic-buttons.tsx'
import { VitalsChart } from './vitals-chart.tsx'

/** One server beside the others: how it is and was, what was deployed to it, what it prints. */
export function ServerDrawer({
  server,
  where,
  place,
  onClose,
}: {
  server: ServerRow
  where: { application: string; environment: string }
  place: ServerPlace
  onClose: () => void
}) {
  const { data: vitals } = useQuery(serverQueries.vitalsOf(where, server.name))
  const { data: known } = useQuery(serverQueries.one(server.name))
  const { data: history } = useQuery(serverQueries.history(where, server.name))
  const { tone, text } = stateOf(server)
  const agent = known?.agent
  return (
    <Dialog.Root open onOpenChange={(open) => !open && onClose()}>
      <Dialog.Portal>
        <Dialog.Backdrop className="backdrop" />
        <Dialog.Popup className="drawer">
          <header className="row">
            <Dialog.Title render={<h2 />}>{server.name}</Dialog.Title>
            <span role="status">
              <State tone={tone}>{text}</State>
            </span>
            <Tags tags={server.tags} />
            <span className="grow" />
            <Dialog.Close className="button quiet" aria-label="Close">
              <Icon name="close" />
            </Dialog.Close>
          </header>
          {server.problem ? (
            <Problem report={server.problem} />
          ) : server.health?.healthy === false ? (
            <Problem
              report={{
                code: 'service.unhealthy',
                message: server.health.detail ?? 'The service does not answer its health check',
                fix: `See what it prints, below; or: dploy logs ${where.environment} --on ${server.name}`,
              }}
            />
          ) : null}
          <div className="row wrap">
            {place.may ? <TrafficButtons server={server} /> : null}
            {place.shells ? (
              <Link className="button small" to={`${placeOf(where)}/terminal/${encodeURIComponent(server.name)}`}>
                Terminal
              </Link>
            ) : null}
            <Link className="button small" to={`${placeOf(where)}/logs?server=${encodeURIComponent(server.name)}`}>
              Whole log
            </Link>
            <span className="grow" />
            <CommandLine command={`dploy server show ${server.name}`} />
          </div>
          <dl className="facts small">
            <Fact name="Release">
              {server.release ?? '–'}
              {server.drifted && server.release !== place.wanted ? ` instead of ${place.wanted}` : ''}
            </Fact>
            <Fact name="Service">
              {server.service?.since ? (
                <>
                  runs since <Ago at={server.service.since} />
                </>
              ) : server.service?.state === 'none' ? (
                'none'
              ) : (
                (server.service?.state ?? '–')
              )}
              {server.service && server.service.restarts > 0 ? `, ${server.service.restarts} restarts` : ''}
            </Fact>
            <Fact name="Health check">{healthText(server) ?? '–'}</Fact>
            <Fact name="Requests in flight">{server.traffic?.inFlight ?? '–'}</Fact>
            {vitals?.now ? (
              <Fact name="Load">
                {vitals.now.machine.load.toFixed(2)} on {vitals.now.machine.processors} processors
              </Fact>
            ) : null}
            {vitals?.now ? (
              <Fact name="Memory">
                {formatBytes(vitals.now.machine.memory.total - vitals.now.machine.memory.available)} of{' '}
                {formatBytes(vitals.now.machine.memory.total)}
              </Fact>
            ) : null}
            {vitals?.now ? (
              <Fact name="Disk free">
                {formatBytes(vitals.now.machine.disk.free)} of {formatBytes(vitals.now.machine.disk.total)}
              </Fact>
            ) : null}
            {agent ? (
              <Fact name="Agent">
                {agent.version}, {agent.platform}, {agent.roundTripMs} ms away
              </Fact>
            ) : null}
          </dl>
          <section aria-label="The last hour">
            <h3>The last hour</h3>
            {vitals && vitals.at.length > 0 ? (
              <VitalsChart vitals={vitals} />
            ) : (
              <p className="muted">
                Nothing told yet. Agents tell how they are every half minute; an older one does not.
              </p>
            )}
          </section>
          <section aria-label="History">
            <h3>What was deployed to it</h3>
            {history === undefined ? null : history.length === 0 ? (
              <p className="muted">Nothing yet.</p>
            ) : (
              <History steps={history} />
            )}
          </section>
          <section className="card log" aria-label="What the application prints">
            <Lines
              key={server.name}
              application={where.application}
              environment={where.environment}
              server={server.name}
            >
              {null}
            </Lines>
          </section>
        </Dialog.Popup>
      </Dialog.Portal>
    </Dialog.Root>
  )
}

function Fact({ name, children }: { name: string; children: React.ReactNode }) {
  return (
    <div>
      <dt>{name}</dt>
      <dd className="number">{children}</dd>
    </div>
  )
}

function History({ steps }: { steps: readonly ServerStep[] }) {
  return (
    <div className="table-box" tabIndex={0} role="region" aria-label="Deployments to this server">
      <table className="table">
        <thead>
          <tr>
            <th>Deployment</th>
            <th>Release</th>
            <th>Here</th>
            <th>Took</th>
            <th>Moved</th>
            <th>When</th>
          </tr>
        </thead>
        <tbody>
          {steps.map((step) => (
            <tr key={step.deployment}>
              <td className="nowrap">
                <Link to={`/deployments/${step.deployment}`}>{step.deployment}</Link>{' '}
                <span className="muted">{step.kind}</span>
              </td>
              <td className="revision-cell">
                <span className="row">
                  <span className="number">{step.release ?? '–'}</span>
                  <span className="muted cut">{step.revision?.subject}</span>
                </span>
              </td>
              <td title={step.failure ? `${step.failure.message}. ${step.failure.fix}` : undefined}>
                <State tone={stepTones[step.step].tone}>{stepTones[step.step].text}</State>
              </td>
              <td className="number nowrap">{duration(step.ms)}</td>
              <td className="number nowrap">{step.bytes === 0 ? '–' : formatBytes(step.bytes)}</td>
              <td>{step.startedAt === null ? '–' : <Ago at={step.startedAt} />}</td>
            </tr>
          ))}
        </tbody>
      </table>
    </div>
  )
}
