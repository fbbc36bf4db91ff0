import { useState } from 'react'
import type { EnvironmentSettings } from '../../../protocol/api/settings.ts'
import { CommandLine } from '../../components/command-line.tsx'
import { Ago } from '../../components/time.tsx'

/** The dploy.yml that counts, as it was sent, with what each line means beside it. */
export function ConfigFile({ settings, environment }: { settings: EnvironmentSettings; environment: string }) {
  const { file, appliedAt } = settings
  const [explained, setExplained] = useState(true)
  return (
    <section className="card" aria-label="dploy.yml">
      <header className="wraps">
        <h2>dploy.yml</h2>
        <span className="muted">
          {file === null ? 'applied' : `applied by ${file.by}`} <Ago at={appliedAt} />
        </span>
        <span className="grow" />
        {file === null ? null : (
          <button
            type="button"
            className="button small"
            aria-pressed={explained}
            onClick={() => setExplained(!explained)}
          >
            {explained ? 'Hide what it means' : 'Show what it means'}
          </button>
        )}
        <CommandLine command={`dploy settings ${environment} --file`} />
      </header>
      {file === null ? (
        <div className="body stack">
          <p>
            An older dploy took it and did not keep its text. It is kept from the next time on that somebody plans or
            deploys:
          </p>
          <CommandLine command={`dploy plan ${environment}`} />
        </div>
      ) : (
        <ol
          className={`config-file ${explained ? 'explained' : ''}`}
          tabIndex={0}
          aria-label={`${file.name}, line by line`}
        >
          {file.lines.map((line, index) => (
            <li key={index}>
              <code>{line.text || ' '}</code>
              {explained && line.keys.length > 0 ? (
                <span className="config-meaning">
                  {line.keys.map(({ path, meaning }) => (
                    <span key={path} title={path}>
                      {line.keys.length > 1 ? <b>{path.split('.').at(-1)}: </b> : null}
                      {meaning}{' '}
                    </span>
                  ))}
                </span>
              ) : null}
            </li>
          ))}
        </ol>
      )}
    </section>
  )
}
