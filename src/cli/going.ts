import { Command } from 'commander'
import type { Deployment } from '../protocol/deployment.ts'
import { DployError } from '../protocol/errors.ts'
import { makeOutput, type Output } from './output.ts'
import { openSession, requester, type Session } from './session.ts'

const running: ReadonlySet<string> = new Set([
  'waiting_for_approval',
  'queued',
  'resolving',
  'building',
  'staging',
  'committing',
  'activating',
  'baking',
])

interface Word {
  name: string
  description: string
  call: (session: Session, number: number) => Promise<Deployment>
  said: string
}

/** A command about the deployment that runs in an environment, or the one with a number. */
function goingCommand({ name, description, call, said }: Word): Command {
  return new Command(name)
    .description(description)
    .argument('[environment-or-number]', 'which; not needed when dploy.yml has one environment only')
    .option('--json', 'one JSON object a line', false)
    .addHelpText('after', `\nExamples:\n  $ dploy ${name}\n  $ dploy ${name} production\n  $ dploy ${name} 128`)
    .action(async (which: string | undefined, options: { json: boolean }, command: Command) => {
      const output = makeOutput(options)
      const number = which !== undefined && /^\d+$/.test(which) ? Number(which) : null
      await using session = await openSession(command, number === null ? which : undefined, { any: number !== null })
      tell(await call(session, number ?? (await runningNumber(session))), said, output)
    })
}

export const pauseCommand = (): Command =>
  goingCommand({
    name: 'pause',
    description: 'let the running deployment stop before its next batch',
    said: 'stops before its next batch; go on with: dploy promote',
    call: (session, number) => session.client.call('pause', { params: { number }, body: { requestedBy: requester() } }),
  })

const promote = (name: string, description: string): Command =>
  goingCommand({
    name,
    description,
    said: 'goes on',
    call: (session, number) =>
      session.client.call('promote', { params: { number }, body: { requestedBy: requester() } }),
  })

export const promoteCommand = (): Command => promote('promote', 'let the deployment go on that waits for a person')
export const resumeCommand = (): Command => promote('resume', 'the same as promote: let a paused deployment go on')

export const abortCommand = (): Command =>
  goingCommand({
    name: 'abort',
    description: 'stop the running deployment; what was switched is switched back',
    said: 'stops; what was switched is switched back',
    call: (session, number) => session.client.call('cancel', { params: { number } }),
  })

/** Throws `deployment.conflict` if none runs. */
async function runningNumber({ client, params }: Session): Promise<number> {
  const { deployments } = await client.call('deployments', { query: { ...params, limit: 20 } })
  const found = deployments.find(({ state }) => running.has(state))
  if (!found)
    throw new DployError('deployment.conflict', `No deployment runs in ${params.application}/${params.environment}`)
  return found.number
}

function tell(deployment: Deployment, said: string, output: Output): void {
  if (output.mode === 'json') output.json({ type: 'deployment', ...deployment })
  else output.line(`Deployment ${deployment.number} of ${deployment.application} to ${deployment.environment} ${said}.`)
}
