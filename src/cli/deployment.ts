import type { Deployment } from '../protocol/deployment.ts'
import { DployError } from '../protocol/errors.ts'
import { goOnUnread } from './gone-reader.ts'
import type { Output } from './output.ts'
import type { Session } from './session.ts'

/**
 * Starts a deployment and shows it to its end. The exit code is 0 only if it succeeded. The first Ctrl-C asks it to stop
 * (what was switched is switched back, which is shown too), the second leaves it alone.
 */
export async function deployAndWatch(
  session: Session,
  start: () => Promise<Deployment>,
  output: Output,
): Promise<void> {
  using _unread = goOnUnread()
  const deployment = await start()
  const leave = new AbortController()
  let interrupts = 0
  let waits = deployment.state === 'waiting_for_approval'
  if (waits && output.mode !== 'json')
    process.stderr.write(
      `${session.params.environment} is protected. Somebody else lets it begin: dploy approve ${deployment.number}\n`,
    )
  const interrupt = () => {
    interrupts++
    if (waits) {
      // Who leaves it has asked all the same.
      leave.abort(new Error('left'))
      return
    }
    if (interrupts > 1) {
      leave.abort(new Error('left'))
      return
    }
    process.stderr.write('\nStopping; what was switched is switched back. Ctrl-C again to leave it.\n')
    void session.client.call('cancel', { params: { number: deployment.number } }).catch(() => {})
  }
  process.on('SIGINT', interrupt)
  process.on('SIGTERM', interrupt)
  try {
    const { watchDeployment } = await import('./view/watch-deployment.ts')
    const progress = await watchDeployment(session.client, deployment, output, leave.signal, {
      onState: (state) => (waits = state === 'waiting_for_approval'),
    })
    process.exitCode = progress.state === 'succeeded' ? 0 : 1
  } catch (error) {
    if (!leave.signal.aborted) throw error
    process.stderr.write(
      waits
        ? `Deployment ${deployment.number} goes on waiting for approval. Withdraw it: dploy approve ${deployment.number} --refuse\n`
        : `Left deployment ${deployment.number}. See what became of it: dploy deployments\n`,
    )
    if (output.mode === 'json')
      output.result({
        state: 'failed',
        deployment: deployment.number,
        failure: new DployError(
          'deployment.cancelled',
          `Deployment ${deployment.number} was left; it goes on`,
        ).toJSON(),
      })
    process.exitCode = 130
  } finally {
    process.off('SIGINT', interrupt)
    process.off('SIGTERM', interrupt)
  }
}
