import { useQuery } from '@tanstack/react-query'
import { queries } from '../../api/queries.ts'
import { CommandLine } from '../../components/command-line.tsx'

/** The status badge as others see it, and what to put into a README. */
export function Badge({ application, environment }: { application: string; environment: string }) {
  const { data } = useQuery(queries.badge(application, environment))
  if (!data) return null
  const { url, shown } = data
  // Asked from here, wherever others ask.
  const here = url === null ? null : new URL(url, location.origin)
  return (
    <section className="card" aria-label="Badge">
      <header className="wraps">
        <h2 className="grow">Badge</h2>
        <CommandLine command={`dploy notify badge ${environment}`} />
      </header>
      <div className="body stack">
        {here === null ? (
          <>
            <p className="muted">
              A picture of what runs here, for a README. Nobody may see it; at the environment in dploy.yml, say who
              may:
            </p>
            <CommandLine command="badge: public" label="A line for dploy.yml" />
          </>
        ) : (
          <>
            <p>
              <img src={here.pathname + here.search} alt={`What ${application} ${environment} runs`} height="20" />
            </p>
            <p className="muted">{shown === 'public' ? 'Everybody may see it.' : 'Who has this address may see it.'}</p>
            <CommandLine command={`![${environment}](${new URL(url!, location.origin).href})`} label="For a README" />
          </>
        )}
      </div>
    </section>
  )
}
