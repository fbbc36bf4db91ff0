import { CommandLine } from '../components/command-line.tsx'

/** An empty control plane: what to do first, as lines to type. It goes by itself when the first application is there. */
export function FirstSteps() {
  return (
    <section className="first-steps">
      <h1>Nothing is deployed from here yet</h1>
      <p className="muted">Three lines make it so. This page goes on by itself once the first application is known.</p>
      <ol className="stack wide">
        <li>
          <h2>Describe the application</h2>
          <p className="muted">In its repository: writes a dploy.yml from what is found there.</p>
          <CommandLine command="dploy init" />
        </li>
        <li>
          <h2>Tell this control plane of it</h2>
          <p className="muted">With the token you signed in with. Shows what a deployment would do, and changes nothing.</p>
          <CommandLine command={`DPLOY_URL=${location.origin} dploy plan`} />
        </li>
        <li>
          <h2>Add its servers</h2>
          <p className="muted">On each server named in dploy.yml, with the token that the first line prints.</p>
          <CommandLine command="dploy token join" />
          <CommandLine command={`curl -fsSL ${location.origin}/install.sh | sudo sh -s -- --token TOKEN --name NAME`} />
        </li>
      </ol>
      <p className="muted">Only looking? On any machine, this starts servers, a balancer and an application to play with:</p>
      <CommandLine command="dploy demo" />
    </section>
  )
}
