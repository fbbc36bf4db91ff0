import { Scalar, stringify } from 'yaml'
import { schemaPlace } from './editor-schema.ts'
import type { Explained, Proposal } from './proposal.ts'

const width = 110

/** The text of a dploy.yml that says what was proposed, each line explained by a comment. */
export function writeConfig(proposal: Proposal): string {
  const draft = new Draft()
  // In the form that the YAML language server reads, which most editors use.
  draft.comment(`yaml-language-server: $schema=${schemaPlace}`)
  draft.comment(
    `dploy.yml: how ${proposal.application} gets onto its servers. Written by dploy init, which found ${proposal.name}.`,
  )
  draft.comment('Check it with: dploy plan. Unknown keys and wrong values are told with their line.')
  if (proposal.notes.length > 0) {
    draft.comment('')
    draft.comment('Please look at:')
    for (const note of proposal.notes) draft.comment(`- ${note}`, '  ')
  }
  draft.blank()
  draft.key('application', {
    value: proposal.application,
    why: 'The name of the application; releases live in /srv/NAME on the servers.',
  })
  writeSource(draft, proposal)
  writeBuild(draft, proposal)
  if (proposal.shared !== undefined && proposal.shared.length > 0) {
    draft.section('release', 'How releases stand on a server.', () => {
      draft.open('shared', 'Paths that outlive a release: links into shared/, which all releases use.', () => {
        for (const one of proposal.shared!) draft.item(one)
      })
    })
  }
  writeService(draft, proposal)
  if (proposal.afterStage !== undefined) {
    const { afterStage } = proposal
    draft.section('hooks', 'Commands at named points of a deployment; also before_activate and after_activate.', () =>
      draft.key('after_stage', afterStage),
    )
  }
  if (proposal.releaseCommand !== undefined) {
    draft.blank()
    draft.key('release_command', proposal.releaseCommand)
  }
  writeVariables(draft, proposal)
  writeEnvironments(draft, proposal)
  return draft.text()
}

function writeSource(draft: Draft, { source }: Proposal): void {
  if (source === null) return
  draft.section('source', source.why, () => {
    draft.key('repository', { value: source.value.repository, why: 'A git URL, or a path relative to this file.' })
    if (source.value.subfolder !== null)
      draft.key('subfolder', { value: source.value.subfolder, why: 'The folder in the repository.' })
  })
}

function writeBuild(draft: Draft, { build }: Proposal): void {
  const { command, ship, leaveOut, cache, variables } = build ?? {}
  if (command === undefined && ship === undefined && leaveOut === undefined) return
  draft.section('build', 'What happens once per revision, in a clean checkout, before anything is shipped.', () => {
    if (command !== undefined) draft.key('command', command)
    if (ship !== undefined) draft.list('ship', ship)
    if (leaveOut !== undefined) draft.list('leave_out', leaveOut)
    if (cache !== undefined) draft.list('cache', cache)
    if (variables !== undefined)
      draft.open('variables', 'Environment variables of the build command.', () => draft.keys(variables))
  })
}

function writeService(draft: Draft, { service }: Proposal): void {
  if (service === undefined) return
  draft.section('service', 'What runs on each server.', () => {
    if (service.restart !== undefined) {
      draft.key('manager', {
        value: 'command',
        why: 'Another program runs it; dploy only tells that program to use the new release.',
      })
      draft.key('restart', service.restart)
      if (service.status !== undefined) draft.key('status', service.status)
    } else if (service.command !== undefined) draft.key('command', service.command)
    draft.key('port', service.port)
    const { host, health } = service
    if (host === undefined) draft.key('health', health)
    else {
      draft.open('health', 'The health check.', () => {
        draft.key('path', health)
        draft.key('host', host)
      })
    }
    if (service.handover !== undefined) {
      draft.comment(
        `${service.handover.why} Two run at the same time for a while, so that jobs which may run only once need a lock. See docs/handover.md`,
      )
      draft.comment(`handover: ${service.handover.value}`)
    }
  })
}

function writeVariables(draft: Draft, { variables }: Proposal): void {
  if (variables === undefined || Object.keys(variables).length === 0) return
  draft.section(
    'variables',
    'Environment variables of the service, the hooks and the release command. No secrets: this file is in git.',
    () => draft.keys(variables),
  )
}

function writeEnvironments(draft: Draft, proposal: Proposal): void {
  draft.section('environments', 'Where it is deployed: add staging beside production as you like.', () => {
    draft.open('production', 'dploy deploy takes the environment by this name.', () => {
      if (proposal.branch !== null)
        draft.key('branch', { value: proposal.branch, why: 'Deployed when no revision is named.' })
      draft.open('servers', 'The machines; the agent on each joins under its name here: dploy agent run.', () => {
        draft.line('- name: web1', 'How dploy, and the balancer, call it.')
        draft.indented(() =>
          draft.line(
            'address: web1.example.com',
            'Put your server here: a host, user@host:port, or an alias of your ssh config.',
          ),
        )
      })
      draft.comment('A balancer takes a server out of traffic while it switches, so that nobody notices. For HAProxy:')
      draft.comment('balancer:')
      draft.comment('  kind: haproxy')
      draft.comment('  address: unix:/run/haproxy/admin.sock')
      draft.comment('  backend: web')
      draft.comment('An address of the application through the balancer: asked during deployments, for the receipt.')
      draft.comment(
        `probe: http://${proposal.application.toLowerCase().replace(/[^a-z0-9-]/g, '-')}.example.com${proposal.service?.health.value ?? '/'}`,
      )
    })
  })
}

/** Lines of YAML with their comments, indented. */
class Draft {
  readonly #lines: string[] = []
  #depth = 0

  text(): string {
    return `${this.#lines.join('\n')}\n`
  }

  blank(): void {
    this.#lines.push('')
  }

  comment(text: string, hanging = ''): void {
    const room = width - this.#indent.length - 2
    let line = ''
    for (const word of text === '' ? [] : text.split(/(?<=\S) /)) {
      if (line !== '' && line.length + 1 + word.length > room) {
        this.#lines.push(`${this.#indent}# ${line}`)
        line = hanging + word
      } else line = line === '' ? word : `${line} ${word}`
    }
    this.#lines.push(`${this.#indent}# ${line}`.trimEnd())
  }

  /** A key of the top level, with a blank line before it. */
  section(name: string, why: string, inside: () => void): void {
    this.blank()
    this.open(name, why, inside)
  }

  open(name: string, why: string, inside: () => void): void {
    this.comment(why)
    this.#lines.push(`${this.#indent}${name}:`)
    this.indented(inside)
  }

  indented(inside: () => void): void {
    this.#depth++
    inside()
    this.#depth--
  }

  key(name: string, { value, why }: Explained<string | number>): void {
    this.line(`${name}: ${inYaml(value)}`, why)
  }

  keys(values: Record<string, Explained<string>>): void {
    for (const [name, value] of Object.entries(values)) this.key(name, value)
  }

  list(name: string, { value, why }: Explained<string[]>): void {
    this.line(`${name}: [${value.map((one) => inYaml(one, true)).join(', ')}]`, why)
  }

  item({ value, why }: Explained<string>): void {
    this.line(`- ${inYaml(value)}`, why)
  }

  line(text: string, why: string): void {
    this.comment(why)
    this.#lines.push(this.#indent + text)
  }

  get #indent(): string {
    return '  '.repeat(this.#depth)
  }
}

/** A value on one line, in quotes where YAML would read something else. */
function inYaml(value: string | number, inList = false): string {
  if (typeof value === 'number') return String(value)
  const scalar = new Scalar(value)
  if (/[\n\r\t]/.test(value) || (inList && /[[\]{},]/.test(value))) scalar.type = 'QUOTE_DOUBLE'
  return stringify(scalar, { lineWidth: 0 }).trimEnd()
}
