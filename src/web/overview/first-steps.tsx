import { useMutation } from '@tanstack/react-query'
import { useState } from 'react'
import { mayAt } from '../../protocol/api/access.ts'
import { useWho } from '../api/rights.ts'
import { client } from '../api/session.ts'
import { CommandLine } from '../components/command-line.tsx'
import { Empty } from '../components/empty.tsx'
import { sayProblem } from '../components/toasts.tsx'
import { Once } from '../settings/once.tsx'
import '../settings/settings.css'

/** For how long the token of the first steps is valid; another is made under settings. Days. */
const firstDays = 90

/** An empty control plane: what to do first, as lines to type. It goes by itself when the first application is there. */
export function FirstSteps() {
  const who = useWho()
  const rights = who?.rights ?? []
  if (who && rights.length === 0)
    return (
      <Empty page title="There is nothing here for you yet">
        <p>Ask an administrator to say what you may do, under Settings, People:</p>
        <CommandLine
          command={`dploy person role ${who.email ?? 'ADDRESS'} deployer`}
          label="What an administrator types"
        />
      </Empty>
    )
  if (!rights.some(({ right }) => right !== 'read'))
    return (
      <Empty page title="Nothing is deployed from here yet">
        <p>This page goes on by itself once somebody who may deploy has told of the first application.</p>
      </Empty>
    )
  return (
    <section className="first-steps">
      <h1>Nothing is deployed from here yet</h1>
      <p className="muted">Four steps make it so. This page goes on by itself once the first application is known.</p>
      <ol className="stack wide">
        <li>
          <h2>Connect your command line</h2>
          <Connect />
        </li>
        <li>
          <h2>Describe the application</h2>
          <p className="muted">In its repository: writes a dploy.yml from what is found there.</p>
          <CommandLine command="dploy init" label="Describe the application" />
        </li>
        <li>
          <h2>Tell this control plane of it</h2>
          <p className="muted">Shows what a deployment would do, and changes nothing.</p>
          <CommandLine command="dploy plan" label="Tell this control plane of it" />
        </li>
        <li>
          <h2>Add its servers</h2>
          <AddServers />
        </li>
      </ol>
      <p className="muted">
        Only looking? On any machine, this starts servers, a balancer and an application to play with:
      </p>
      <CommandLine command="dploy demo" label="Start a demo" />
    </section>
  )
}

/** A token for the command line, made by a click and shown once in the line that uses it. */
function Connect() {
  const who = useWho()
  const everything = mayAt(who?.rights ?? [], 'administer', null)
  const make = useMutation({
    mutationFn: () =>
      client().call('createToken', {
        body: {
          note: `Command line of ${who!.name}`.slice(0, 100),
          right: everything ? 'administer' : 'deploy',
          places: mayAt(who!.rights, 'deploy', null)
            ? null
            : who!.rights.flatMap(({ right, place }) => (right === 'read' || place === null ? [] : [place])),
          days: firstDays,
        },
      }),
    onError: sayProblem,
  })
  if (make.data)
    return (
      <Once
        title="In your shell; the token in it is not shown again"
        value={`export DPLOY_URL=${location.origin} DPLOY_TOKEN=${make.data.token}`}
      >
        <p className="muted">Valid for {firstDays} days. End it, or make another, under Settings, API tokens.</p>
      </Once>
    )
  return (
    <>
      <p className="muted">
        It needs an API token, which may do what you may.{' '}
        {who?.kind === 'token' ? 'The one that you signed in with will do as well.' : null}
      </p>
      <div className="row wrap">
        <button type="button" className="button primary" disabled={make.isPending} onClick={() => make.mutate()}>
          {make.isPending ? 'Making it…' : 'Make an API token'}
        </button>
      </div>
    </>
  )
}

/** The line that makes a machine a server, with a join token made by a click. */
function AddServers() {
  const administers = mayAt(useWho()?.rights ?? [], 'administer', null)
  const [name, setName] = useState('web1')
  const make = useMutation({
    mutationFn: () => client().call('createJoinToken', { body: { note: 'first steps', uses: 20, minutes: 60 } }),
    onError: sayProblem,
  })
  const line = `curl -fsSL ${location.origin}/install.sh | sudo sh -s -- --token ${make.data?.token ?? 'TOKEN'} --name ${name || 'NAME'}`
  if (!administers)
    return (
      <>
        <p className="muted">An administrator makes a token for them; on each server named in dploy.yml:</p>
        <CommandLine command={line} label="On each server" />
      </>
    )
  return (
    <>
      <p className="muted">
        On each server named in dploy.yml, under its name.{' '}
        {make.data ? 'The token lets up to 20 servers join within an hour.' : null}
      </p>
      <div className="row wrap">
        <label htmlFor="first-server">Name</label>
        <input
          id="first-server"
          className="input small mono branch-name"
          value={name}
          pattern="[A-Za-z0-9][A-Za-z0-9._\-]{0,62}"
          onChange={(event) => setName(event.target.value.replaceAll(/[^A-Za-z0-9._-]/g, ''))}
        />
        {make.data ? null : (
          <button type="button" className="button" disabled={make.isPending} onClick={() => make.mutate()}>
            Make a join token
          </button>
        )}
      </div>
      <CommandLine command={line} label="On each server" />
    </>
  )
}
