import { Dialog } from '@base-ui/react/dialog'
import { useMutation } from '@tanstack/react-query'
import { useState } from 'react'
import type { ServerStatus } from '../../protocol/api/environments.ts'
import { client } from '../api/session.ts'
import { CommandLine } from '../components/command-line.tsx'
import { State } from '../components/state.tsx'
import { sayProblem } from '../components/toasts.tsx'
import { stateOf } from './rows.ts'

/** Shows the line that a new server's agent is started with, and a row that waits until it has arrived. */
export function AddServer({
  application,
  environment,
  servers,
}: {
  application: string
  environment: string
  servers: readonly ServerStatus[]
}) {
  const absent = servers.filter((server) => !server.connected)
  const [name, setName] = useState('')
  const [ssh, setSsh] = useState('')
  const wanted = name || absent[0]?.name || ''
  const token = useMutation({
    mutationFn: () =>
      client().call('createJoinToken', {
        body: { note: `added on the pages: ${wanted}`, environments: [{ application, environment }], server: wanted },
      }),
    onError: sayProblem,
  })
  const server = servers.find((one) => one.name === wanted)
  return (
    <Dialog.Root onOpenChange={(open) => !open && (token.reset(), setName(''))}>
      <Dialog.Trigger className="button">Add a server…</Dialog.Trigger>
      <Dialog.Portal>
        <Dialog.Backdrop className="backdrop" />
        <Dialog.Popup className="dialog">
          <Dialog.Title render={<h2 />}>
            Add a server to {application} → {environment}
          </Dialog.Title>
          <form className="stack" onSubmit={(event) => (event.preventDefault(), token.mutate())}>
            <div className="field">
              <label htmlFor="server-name">Its name</label>
              <input
                id="server-name"
                className="input"
                list="absent-servers"
                pattern="[A-Za-z0-9][A-Za-z0-9._\-]{0,62}"
                value={name}
                placeholder={absent[0]?.name ?? 'web9'}
                onChange={(event) => (setName(event.target.value), token.reset())}
              />
              <datalist id="absent-servers">
                {absent.map((one) => (
                  <option key={one.name} value={one.name} />
                ))}
              </datalist>
            </div>
            {token.data ? null : (
              <div className="actions">
                <Dialog.Close className="button">Close</Dialog.Close>
                <button type="submit" className="button primary" disabled={wanted === '' || token.isPending}>
                  Show the line
                </button>
              </div>
            )}
          </form>
          {token.data ? (
            <>
              <p>On the server. It is valid for one hour and one server, and installs the agent as a service:</p>
              <CommandLine label="The line to paste" command={joinLine(token.data.token, wanted)} />
              <div className="waiting-row" role="status">
                <strong className="grow">{wanted}</strong>
                {server?.connected ? (
                  <State tone={stateOf(server).tone}>arrived: {stateOf(server).text}</State>
                ) : (
                  <State tone="busy">waiting for it…</State>
                )}
              </div>
              <div className="actions">
                <Dialog.Close className="button">{server?.connected ? 'Done' : 'Close'}</Dialog.Close>
              </div>
            </>
          ) : null}
          <div className="or">or over ssh</div>
          <div className="field">
            <label htmlFor="ssh-name">How your ssh reaches it</label>
            <input
              id="ssh-name"
              className="input mono"
              value={ssh}
              placeholder={wanted === '' ? 'deploy@10.0.0.9' : wanted}
              spellCheck={false}
              autoComplete="off"
              onChange={(event) => setSsh(event.target.value)}
            />
          </div>
          <p className="muted">
            Where dploy.yml and your ssh are. It needs root there, or sudo without a password; no token, and nothing to
            be on it.
          </p>
          <CommandLine
            label="The line that installs over ssh"
            command={sshLine({ name: wanted || 'web9', ssh: ssh.trim(), environment, listed: server !== undefined })}
          />
        </Dialog.Popup>
      </Dialog.Portal>
    </Dialog.Root>
  )
}

function joinLine(token: string, name: string): string {
  return `curl -fsSL ${location.origin}/install.sh | sudo sh -s -- --token ${token} --name ${name}`
}

/** What the one who runs it may copy: an odd destination is quoted for their shell. */
export function sshLine({
  name,
  ssh,
  environment,
  listed,
}: {
  name: string
  ssh: string
  environment: string
  listed: boolean
}): string {
  const destination =
    ssh === '' || ssh === name
      ? ''
      : ` --ssh ${/^[\w@.:[\]%+-]+$/.test(ssh) ? ssh : `'${ssh.replaceAll("'", "'\\''")}'`}`
  return `dploy --server ${location.origin} server add ${name}${destination}${listed ? '' : ` --environment ${environment}`}`
}
