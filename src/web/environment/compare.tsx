import { Dialog } from '@base-ui/react/dialog'
import { useQuery } from '@tanstack/react-query'
import { useState } from 'react'
import type { ReleaseDifference } from '../../protocol/api/source.ts'
import { queries } from '../api/queries.ts'
import { Skeleton } from '../components/empty.tsx'
import { Problem } from '../components/problem.tsx'
import { RevisionLine } from '../components/revision.tsx'
import { bytes } from '../deployment/receipt.tsx'

/** What differs between two releases: commits, files, variables by name, the service definition. */
export function Compare({
  application,
  environment,
  from,
  to,
}: {
  application: string
  environment: string
  from: number
  to: number
}) {
  const [open, setOpen] = useState(false)
  const { data, error } = useQuery({ ...queries.difference(application, environment, from, to), enabled: open })
  return (
    <Dialog.Root open={open} onOpenChange={setOpen}>
      <Dialog.Trigger className="button primary">Compare</Dialog.Trigger>
      <Dialog.Portal>
        <Dialog.Backdrop className="backdrop" />
        <Dialog.Popup className="dialog wide">
          <Dialog.Title render={<h2 />}>
            From release {from} to {to}
          </Dialog.Title>
          {error ? (
            <Problem report={error as never} />
          ) : data ? (
            <Difference difference={data} />
          ) : (
            <Skeleton lines={4} />
          )}
          <div className="actions">
            <Dialog.Close className="button">Close</Dialog.Close>
          </div>
        </Dialog.Popup>
      </Dialog.Portal>
    </Dialog.Root>
  )
}

function Difference({ difference }: { difference: ReleaseDifference }) {
  const { commits, commitsBack, files, variables, service, sameArtifact, from, to } = difference
  return (
    <div className="stack wide difference">
      <section>
        <h3>
          Commits <span className="muted">{commits.length}</span>
        </h3>
        {commits.length === 0 ? (
          <p className="muted">{sameArtifact ? 'The same files.' : 'None.'}</p>
        ) : (
          <ul className="stack commits">
            {commits.map((commit) => (
              <li key={commit.commit}>
                <RevisionLine revision={commit} />
              </li>
            ))}
          </ul>
        )}
        {commitsBack.length > 0 ? (
          <p className="muted">
            Release {to} lacks {commitsBack.length} that release {from} has, the latest: {commitsBack[0]!.subject}
          </p>
        ) : null}
      </section>
      {files ? (
        <section>
          <h3>
            Files{' '}
            <span className="muted">
              {files.count}, {bytes(files.bytes)}
            </span>
          </h3>
          <ul className="files mono">
            {files.files.map((file) => (
              <li key={file.path}>
                <span className={file.change}>{file.change}</span>
                <span className="cut grow" title={file.path}>
                  {file.path}
                </span>
                <span className="muted number">{file.change === 'removed' ? '' : bytes(file.bytes)}</span>
              </li>
            ))}
          </ul>
        </section>
      ) : null}
      <section>
        <h3>
          Variables and secrets <span className="muted">{variables.length}</span>
        </h3>
        {variables.length === 0 ? (
          <p className="muted">The same.</p>
        ) : (
          <ul className="files mono">
            {variables.map((one) => (
              <li key={`${one.secret} ${one.name}`}>
                <span className={one.change}>{one.change}</span>
                <span>{one.name}</span>
                {one.secret ? <span className="tag">secret</span> : null}
              </li>
            ))}
          </ul>
        )}
      </section>
      <section>
        <h3>Service definition</h3>
        {service === null ? (
          <p className="muted">The same.</p>
        ) : (
          <div className="service-pair">
            <pre tabIndex={0}>{JSON.stringify(service.from, null, 2)}</pre>
            <pre tabIndex={0}>{JSON.stringify(service.to, null, 2)}</pre>
          </div>
        )}
      </section>
    </div>
  )
}
