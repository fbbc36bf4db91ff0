import type { EnvironmentSettings } from '../../../protocol/api/settings.ts'
import { Empty } from '../../components/empty.tsx'

/** The environment variables that the next release gets. */
export function Variables({ variables }: Pick<EnvironmentSettings, 'variables'>) {
  return (
    <section className="card" aria-label="Variables">
      <header>
        <h2 className="grow">Variables</h2>
        <span className="muted">of the next release, as dploy.yml says</span>
      </header>
      {variables.length === 0 ? (
        <Empty title="No variable">
          <p>
            Name them in dploy.yml under variables, for the application or for the environment. What nobody may read is
            a secret.
          </p>
        </Empty>
      ) : (
        <div className="table-box" role="region" aria-label="Names and values" tabIndex={0}>
          <table className="table settings">
            <thead>
              <tr>
                <th>Name</th>
                <th>Value</th>
                <th>Said for</th>
              </tr>
            </thead>
            <tbody>
              {variables.map((one) => (
                <tr key={one.name}>
                  <td className="mono">{one.name}</td>
                  <td className="mono setting-value">{one.value}</td>
                  <td className="muted">the {one.from}</td>
                </tr>
              ))}
            </tbody>
          </table>
        </div>
      )}
    </section>
  )
}
