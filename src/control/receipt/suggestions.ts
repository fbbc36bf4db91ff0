import type { CauseId } from '../../protocol/causes.ts'
import type { Suggestion } from '../../protocol/receipt.ts'
import type { DeploymentFacts } from './causes.ts'

/** The least that a drain is proposed to wait. Milliseconds. */
const properDrain = 30_000

/** The one thing to change so that this cause is gone, as lines to paste. Pure. */
export function suggest(cause: CauseId, facts: DeploymentFacts, step: string | null): Suggestion {
  switch (cause) {
    case 'killed_in_flight':
    case 'socket_closed_at_once':
      return facts.drains && !facts.warm ? drainLonger(facts) : endInPeace()
    case 'refused_while_registered':
      return besideEachOther('Let the new release start beside the old one, so that a server always answers')
    case 'balancer_unaware':
      return facts.drains
        ? {
            text: 'Something sends to the server that dploy does not take it out of: name every backend or upstream in which it stands',
            where: 'dploy.yml',
            lines: under(facts, ['balancer:', `  kind: ${facts.balancer}`]),
          }
        : {
            text: 'Let dploy take servers out of the balancer before they restart; a check of its own is always late',
            where: 'dploy.yml',
            lines: under(facts, [
              'balancer:',
              '  kind: haproxy',
              '  address: unix:/run/haproxy/admin.sock',
              '  backend: NAME',
            ]),
          }
    case 'not_ready':
      return {
        text: 'Let the health check ask what users ask: it must fail until the application can answer',
        where: 'dploy.yml',
        lines: ['service:', '  health:', `    path: ${facts.probePath}`, '    successes: 3'],
      }
    case 'new_release_fails':
      return {
        text: 'Correct the new release; a health check that asks what users ask stops such a deployment at the first server',
        where: 'dploy.yml',
        lines: ['service:', '  health:', `    path: ${facts.probePath}`],
      }
    case 'hook_stopped_service':
      return movedHook(facts, step)
    case 'keep_alive_race':
      return {
        text: 'Let the application keep idle connections longer than the balancer does',
        where: 'application',
        lines: ['server.keepAliveTimeout = 75_000   // Node; gunicorn: --keep-alive 75; puma: persistent_timeout 75'],
      }
    case 'old_assets_missing':
      return {
        text: 'Serve the files of both releases while pages of the old one are still open',
        where: 'dploy.yml',
        lines: ['release:', '  assets: [public/assets]'],
      }
    case 'balancer_reload':
      return (
        facts.remedies.restarted ?? {
          text: 'Reload the balancer outside of deployments, and let it end what it has under way',
          where: 'balancer',
          lines: [`dploy doctor ${facts.environment}`],
        }
      )
    case 'outside':
      return {
        text: 'Look what the application and the balancer logged at that time',
        where: 'application',
        lines: [`dploy logs ${facts.environment}`],
      }
    case 'stop_ignored':
      return facts.drains || facts.warm
        ? {
            text: 'Nothing is in flight when it is told to stop, so that it can be ended at once; better: let the application end on the signal. Holds from the release on that has it',
            where: 'dploy.yml',
            lines: ['service:', '  stop:', '    signal: SIGKILL'],
          }
        : endInPeace()
    case 'slow_boot':
      return besideEachOther('Let the new release boot beside the old one, before anything switches')
    case 'slow_drain':
      return besideEachOther('Let the old release end its requests while the new one already serves')
    case 'slow_register':
      return (
        facts.remedies.seldomChecked ?? {
          text: 'Let the balancer check servers more often, so that a healthy one is seen sooner',
          where: 'balancer',
          lines: [`dploy doctor ${facts.environment}`],
        }
      )
    default:
      return cause satisfies never
  }
}

function drainLonger(facts: DeploymentFacts): Suggestion {
  const wait = Math.max(properDrain, 2 * facts.drainTimeout)
  return {
    text: 'Wait longer for requests in flight; as soon as there are none it goes on',
    where: 'dploy.yml',
    lines: under(facts, ['timeouts:', `  drain: ${Math.ceil(wait / 1000)}s`]),
  }
}

function endInPeace(): Suggestion {
  return {
    text: 'On the signal to stop: take nothing new, answer what is in flight, then end',
    where: 'application',
    lines: ["process.on('SIGTERM', () => server.close(() => process.exit(0)))   // Node"],
  }
}

function besideEachOther(text: string): Suggestion {
  return {
    text: `${text} (the service has to listen on PORT)`,
    where: 'dploy.yml',
    lines: ['service:', '  handover: port'],
  }
}

function movedHook(facts: DeploymentFacts, step: string | null): Suggestion {
  const command = step === null ? undefined : facts.hooks[step as keyof typeof facts.hooks]
  return facts.drains && step === 'after_stage'
    ? {
        text: 'Run it when the server is out of traffic',
        where: 'dploy.yml',
        lines: ['hooks:', `  before_activate: ${JSON.stringify(command ?? 'COMMAND')}`],
      }
    : {
        text: `Take out of the hook ${step ?? ''} what stops the service: dploy itself restarts it`,
        where: 'dploy.yml',
        lines: ['hooks:', `  # ${step ?? 'HOOK'}: ${command ?? 'COMMAND'}`],
      }
}

function under(facts: DeploymentFacts, lines: readonly string[]): string[] {
  return ['environments:', `  ${facts.environment}:`, ...lines.map((line) => `    ${line}`)]
}
