/**
 * Every error that dploy reports, by its stable code. `title` says what happened in general, `fix` what to do next,
 * `status` is the HTTP status under which the API reports it.
 */
export const errorTable = {
  'config.missing': { status: 400, title: 'There is no dploy.yml here', fix: 'Run: dploy init' },
  'config.exists': {
    status: 409,
    title: 'There is a dploy.yml here already',
    fix: 'Edit it, or move it away and run: dploy init',
  },
  'config.invalid': {
    status: 400,
    title: 'dploy.yml is not valid',
    fix: 'Correct the named line, then run: dploy plan',
  },
  'request.invalid': { status: 400, title: 'The request is not valid', fix: 'Correct the named field' },
  'request.method': {
    status: 405,
    title: 'This path does not take this method',
    fix: 'Use one of the methods that the header Allow names',
  },
  'request.type': {
    status: 415,
    title: 'The body has a type that is not taken here',
    fix: 'Send JSON, with Content-Type: application/json',
  },
  'request.too_large': { status: 413, title: 'The body is larger than what is taken', fix: 'Send less at once' },
  'request.header_too_large': {
    status: 431,
    title: 'Address and headers are longer than what is taken',
    fix: 'Shorten the address, or send fewer headers',
  },
  'request.timeout': { status: 408, title: 'The request did not arrive whole in time', fix: 'Send it again' },
  'idempotency.other_request': {
    status: 422,
    title: 'This Idempotency-Key came with another request before',
    fix: 'Use a new key for each new request',
  },
  'idempotency.under_way': {
    status: 409,
    title: 'The request with this Idempotency-Key is under way',
    fix: 'Wait for it, then ask again with the same key',
  },
  'idempotency.cut_off': {
    status: 409,
    title: 'The control plane ended while it worked on the request with this Idempotency-Key',
    fix: 'Look whether it was done, then ask with a new key if not',
  },
  not_ready: { status: 503, title: 'The control plane cannot answer now', fix: 'Wait, then try again' },
  not_found: { status: 404, title: 'There is no such thing', fix: 'Run: dploy status' },
  unauthorized: {
    status: 401,
    title: 'The request carries no valid token',
    fix: 'Sign in, or set DPLOY_TOKEN to a token that dploy token create printed',
  },
  forbidden: {
    status: 403,
    title: 'You may not do this',
    fix: 'Ask an administrator for the role it needs: dploy person role',
  },
  'request.cross_site': {
    status: 403,
    title: 'The request comes from another site',
    fix: 'Open the pages at the address at which dploy serves them',
  },
  'sign_in.failed': {
    status: 401,
    title: 'Address or password is wrong',
    fix: 'Try again, or ask an administrator for a new link: dploy person invite',
  },
  'sign_in.too_many': { status: 429, title: 'There were too many tries to sign in', fix: 'Wait, then try again' },
  'link.invalid': {
    status: 403,
    title: 'This link was used already, or has expired',
    fix: 'Ask an administrator for a new one: dploy person invite; the first one is printed by dploy serve',
  },
  'person.unknown': { status: 404, title: 'The person is not known', fix: 'Run: dploy person list' },
  'person.exists': { status: 409, title: 'There is such a person already', fix: 'Run: dploy person list' },
  'person.last_administrator': {
    status: 409,
    title: 'Nobody would be administrator any more',
    fix: 'Make somebody else administrator first: dploy person role',
  },
  'webhook.unknown': { status: 404, title: 'The webhook is not known', fix: 'Run: dploy webhook list' },
  'webhook.forged': {
    status: 401,
    title: 'A message to a webhook is not signed with its secret',
    fix: 'Give the service the secret that dploy webhook add printed, or make a new webhook',
  },
  'notification.unknown': { status: 404, title: 'There is no such entry under notify', fix: 'Run: dploy notify list' },
  'notification.undelivered': {
    status: 502,
    title: 'A notification did not arrive',
    fix: 'Correct the entry under notify in dploy.yml, or its secret, then run: dploy notify test',
  },
  'token.unknown': { status: 404, title: 'The token is not known', fix: 'Run: dploy token list' },
  'environment.unknown': { status: 404, title: 'The environment is not known', fix: 'Run: dploy status' },
  'environment.locked': {
    status: 409,
    title: 'Another deployment holds the lock of this environment',
    fix: 'Wait for it (--wait), or, when nobody runs it any more: dploy unlock',
  },
  'environment.no_servers': {
    status: 400,
    title: 'The environment has no servers',
    fix: 'Add servers to dploy.yml under environments',
  },
  'lock.lost': {
    status: 409,
    title: 'This deployment no longer holds the lock of its environment',
    fix: 'Run: dploy status',
  },
  'source.unreachable': {
    status: 422,
    title: 'The source repository cannot be read',
    fix: 'Try: git ls-remote REPOSITORY, as the user that runs the control plane',
  },
  'source.revision_unknown': {
    status: 422,
    title: 'The revision does not exist in the source',
    fix: 'Push it, or name a branch, tag or commit that exists',
  },
  'source.unsupported': {
    status: 422,
    title: 'The source uses something that dploy does not support',
    fix: 'See the message',
  },
  'source.unsafe': {
    status: 422,
    title: 'The source holds a file that cannot be shipped safely',
    fix: 'Rename or remove the named file, or leave it out: build.leave_out',
  },
  'build.failed': { status: 422, title: 'The build command failed', fix: 'Read its log: dploy logs --deployment' },
  'build.timeout': { status: 422, title: 'The build command took too long', fix: 'Raise build.timeout in dploy.yml' },
  'build.nothing_to_ship': {
    status: 422,
    title: 'The build left nothing to ship',
    fix: 'Check build.ship in dploy.yml',
  },
  'server.unknown': { status: 404, title: 'The server is not known', fix: 'Run: dploy status' },
  'server.unreachable': {
    status: 502,
    title: 'The server cannot be reached',
    fix: 'Check that its agent runs: systemctl status dploy-agent',
  },
  'server.user_unknown': {
    status: 422,
    title: 'A server has no such user',
    fix: 'Name a user that exists there, or create it',
  },
  'shell.no_terminal': {
    status: 422,
    title: 'A server has no program that makes a terminal',
    fix: 'Install util-linux or python3 there, or use: dploy exec',
  },
  'shell.needs_terminal': {
    status: 400,
    title: 'An interactive shell needs a terminal here',
    fix: 'Run it in a terminal; for a command: dploy exec ENVIRONMENT -- COMMAND',
  },
  'file.unreadable': { status: 422, title: 'A file cannot be read', fix: 'Check its path and who may read it' },
  'file.unwritable': {
    status: 422,
    title: 'A file cannot be written',
    fix: 'Check that its directory exists there and who may write to it',
  },
  'file.changed': {
    status: 422,
    title: 'A file is not the one that was announced',
    fix: 'It changed while it was copied: copy it again',
  },
  'server.disk_full': {
    status: 507,
    title: 'The disk of a server is full',
    fix: 'Free space there, or lower release.keep, then deploy again',
  },
  'server.inodes_full': {
    status: 507,
    title: 'The disk of a server has no room for more files',
    fix: 'Remove files there, or lower release.keep',
  },
  'server.clock_skew': {
    status: 502,
    title: 'The clock of a server is wrong',
    fix: 'Let it be set by the network: timedatectl set-ntp true',
  },
  'server.not_writable': {
    status: 502,
    title: 'Releases cannot be written where dploy.yml says',
    fix: 'Make release.directory writable for the user that the agent runs as',
  },
  'server.directory_taken': {
    status: 409,
    title: 'Another application, or another environment, is in the directory on a server',
    fix: 'Give this one a directory of its own in dploy.yml: release.directory, or environments.NAME.directory',
  },
  'server.port_taken': {
    status: 502,
    title: 'Another program listens on the port of the service',
    fix: 'End it, or choose another service.port',
  },
  'agent.busy': { status: 409, title: 'The agent works', fix: 'Try again when it is done' },
  'server.install_failed': {
    status: 502,
    title: 'The agent could not be installed',
    fix: 'Do what the message says, then run dploy server add again: it goes on where it stopped',
  },
  'server.no_sudo': {
    status: 502,
    title: 'The user on a server may not become root, which is needed',
    fix: 'Allow sudo without a password there, or ask for nothing that needs root',
  },
  'server.wrong_architecture': {
    status: 502,
    title: 'A server has another architecture than what is sent to it',
    fix: 'Use x86-64 or arm64, and build for the one that the server has',
  },
  'server.libc_too_old': {
    status: 502,
    title: 'The C library of a server is too old',
    fix: 'Upgrade its operating system: glibc 2.28 or newer',
  },
  'server.drifted': {
    status: 409,
    title: 'A server does not run what its environment wants',
    fix: 'Run: dploy converge',
  },
  'server.activate_failed': {
    status: 502,
    title: 'The release could not be activated on a server',
    fix: 'See the cause and the service log',
  },
  'server.no_runtime': {
    status: 502,
    title: 'The server has no Node 24, and none could be brought there',
    fix: 'Install Node 24 on the server',
  },
  'ssh.name_unknown': {
    status: 502,
    title: 'The name of the server does not resolve',
    fix: 'Correct its address in dploy.yml, or add it to ~/.ssh/config',
  },
  'ssh.no_route': {
    status: 502,
    title: 'Nothing answers at the address of the server',
    fix: 'Check that it is on, and that network and firewall let you through',
  },
  'ssh.refused': {
    status: 502,
    title: 'The server refuses connections on its ssh port',
    fix: 'Check that sshd runs there, and the port in its address',
  },
  'ssh.host_key_unknown': {
    status: 502,
    title: 'The host key of the server is not known yet',
    fix: 'Connect once by hand and compare it',
  },
  'ssh.host_key_changed': {
    status: 502,
    title: 'The server shows another host key than before',
    fix: 'Find out why; if the server was installed anew: ssh-keygen -R HOST',
  },
  'ssh.permission_denied': {
    status: 502,
    title: 'The server lets in none of your keys',
    fix: 'Add your public key there: ssh-copy-id HOST',
  },
  'ssh.too_many_failures': {
    status: 502,
    title: 'ssh offered more keys than the server allows',
    fix: 'Name the right key in ~/.ssh/config: IdentityFile and IdentitiesOnly yes',
  },
  'ssh.closed_early': {
    status: 502,
    title: 'The server closed the connection before a login',
    fix: 'Wait a minute; then check MaxStartups of sshd, and fail2ban',
  },
  'ssh.failed': { status: 502, title: 'ssh did not reach the server', fix: 'Try by hand: ssh HOST' },
  'service.unhealthy': {
    status: 502,
    title: 'The service did not become healthy in time',
    fix: 'Read what it printed: dploy logs; or raise service.health.timeout',
  },
  'service.exited': { status: 502, title: 'The service ended by itself', fix: 'Read what it printed: dploy logs' },
  'service.keep_alive_short': {
    status: 502,
    title: 'The service closes idle connections before its balancer does',
    fix: 'Raise the keep-alive timeout of the application over that of the balancer',
  },
  'service.manager_unavailable': {
    status: 502,
    title: 'The process manager cannot be used on this server',
    fix: 'Choose another service.manager in dploy.yml',
  },
  'hook.failed': { status: 502, title: 'A hook failed', fix: 'Read its output in the deployment log' },
  'command.timeout': {
    status: 502,
    title: 'A command took too long and was ended',
    fix: 'Raise its timeout in dploy.yml',
  },
  'release.command_failed': {
    status: 502,
    title: 'The release command failed',
    fix: 'Read its output; nothing was switched',
  },
  'release.old_unhealthy': {
    status: 502,
    title: 'The release command broke the release that serves',
    fix: 'Undo what it changed, then make it leave the old release working',
  },
  'release.unknown': { status: 404, title: 'The release does not exist', fix: 'Run: dploy releases' },
  'release.none_before': {
    status: 409,
    title: 'There is no earlier release to roll back to',
    fix: 'Run: dploy releases',
  },
  'secret.unknown': { status: 404, title: 'The secret does not exist', fix: 'Run: dploy secret list' },
  'secret.missing': { status: 409, title: 'A secret that the release needs is not set', fix: 'Run: dploy secret set' },
  'secret.unreadable': {
    status: 500,
    title: 'A secret cannot be opened',
    fix: 'Put the file secret-key of the data directory back from a backup, or set the secret again',
  },
  'object.corrupt': {
    status: 502,
    title: 'An object does not have the content its name promises',
    fix: 'It is fetched again by itself; if it comes back, check the disk',
  },
  'object.missing': { status: 502, title: 'An object is missing from the store', fix: 'Deploy the revision again' },
  'path.unsafe': {
    status: 400,
    title: 'A path leaves the directory it belongs in',
    fix: 'Use a path inside the directory',
  },
  'balancer.unreachable': {
    status: 502,
    title: 'The balancer cannot be reached',
    fix: 'Check balancer.address in dploy.yml and the permissions of its socket',
  },
  'balancer.unknown_backend': {
    status: 502,
    title: 'The balancer has no such backend',
    fix: 'Check balancer.backend in dploy.yml',
  },
  'balancer.unknown_server': {
    status: 502,
    title: 'The balancer has no such server',
    fix: 'Give the server the name that the balancer uses, or add it there',
  },
  'balancer.refused': {
    status: 502,
    title: 'The balancer refused a command',
    fix: 'Check that its control address has level admin',
  },
  'balancer.not_up': {
    status: 502,
    title: 'The balancer does not see the server as healthy',
    fix: "Check the balancer's own health check against the server",
  },
  'balancer.cannot_split': {
    status: 409,
    title: 'The balancer cannot send a share of the traffic to some servers',
    fix: 'Leave strategy.traffic out of dploy.yml: a canary then gets what its number of servers gets',
  },
  'balancer.log_unreadable': {
    status: 502,
    title: "The balancer's log cannot be read",
    fix: 'Check balancer.log in dploy.yml, and who may read it',
  },
  'deployment.conflict': {
    status: 409,
    title: 'The deployment is not in a state that allows this',
    fix: 'Run: dploy deployments',
  },
  'deployment.cancelled': { status: 409, title: 'The deployment was cancelled', fix: 'Deploy again when ready' },
  'canary.failed': {
    status: 502,
    title: 'The new release answers worse than the old one',
    fix: 'Read what its servers print: dploy logs; mend it and deploy again',
  },
  'canary.inconclusive': {
    status: 502,
    title: 'Too little was seen to judge the new release by',
    fix: 'Raise strategy.judge or strategy.canary, or set strategy.inconclusive: continue',
  },
  'environment.too_few_healthy': {
    status: 409,
    title: 'Too few servers would stay in traffic',
    fix: 'Bring servers back (dploy status), or lower strategy.min_healthy',
  },
  'environment.groups': {
    status: 409,
    title: 'Two groups of servers cannot take turns here',
    fix: 'Give every server one of the tags of strategy.groups, and the environment a balancer',
  },
  'deployment.not_promoted': {
    status: 409,
    title: 'Nobody let the deployment go on in time',
    fix: 'Deploy again, and when it waits: dploy promote; or raise strategy.pause_limit',
  },
  'deployment.too_many_failures': {
    status: 502,
    title: 'More servers failed than the environment allows',
    fix: 'See the named servers',
  },
  'approval.own': {
    status: 403,
    title: 'Who asks for a deployment cannot approve it',
    fix: 'Let another deployer or administrator approve it: dploy approve',
  },
  'approval.refused': {
    status: 409,
    title: 'The deployment was refused',
    fix: 'Talk to who refused it, then ask anew: dploy deploy',
  },
  'approval.expired': { status: 409, title: 'Nobody approved the deployment in time', fix: 'Ask anew: dploy deploy' },
  'approval.needs_server': {
    status: 409,
    title: 'A protected environment is deployed to through a control plane alone',
    fix: 'Set DPLOY_URL to the control plane, or take "protected" out of dploy.yml',
  },
  'protocol.mismatch': {
    status: 426,
    title: 'Agent and control plane speak different protocol numbers',
    fix: 'Upgrade the older of the two',
  },
  'protocol.invalid': {
    status: 400,
    title: 'A message is not valid',
    fix: 'Check that both ends are dploy of a near version',
  },
  'command.refused': {
    status: 403,
    title: 'The agent refused a command',
    fix: 'See the message: unsigned, stale, replayed or meant for another',
  },
  'agent.join_refused': {
    status: 403,
    title: 'The join token is not valid',
    fix: 'Make a new one: dploy serve prints it',
  },
  'agent.key_cloned': {
    status: 409,
    title: 'Two machines hold the key of one server',
    fix: 'Find out which is which, then: dploy server rotate-key NAME, or dploy server unlock NAME',
  },
  'agent.nft_missing': {
    status: 502,
    title: 'A server cannot redirect a port to the new release',
    fix: 'Install nftables there (apt-get install nftables), let the agent run as root, or use service.handover: socket',
  },
  'connection.closed': { status: 502, title: 'The connection ended', fix: 'It is made again by itself' },
  internal: { status: 500, title: 'Something unexpected happened', fix: 'Please report it with the text of the error' },
} as const satisfies Record<string, { status: number; title: string; fix: string }>

export type ErrorCode = keyof typeof errorTable

/** The form in which an error crosses a boundary: between agent and control plane, in the API, in the database. */
export interface ErrorReport {
  code: ErrorCode
  message: string
  /** The next thing to do. Falls back to the table's text. */
  fix: string
  /** Where it happened: a server by name, a file and line, an address. */
  where?: string | undefined
}

/** An error with a stable code; `message` says what happened, `where` names the server or file, `fix` the next command. */
export class DployError extends Error {
  readonly code: ErrorCode
  readonly fix: string
  readonly where: string | undefined

  constructor(
    code: ErrorCode,
    message?: string,
    options: { where?: string | undefined; fix?: string | undefined; cause?: unknown } = {},
  ) {
    super(message ?? errorTable[code].title, options.cause === undefined ? undefined : { cause: options.cause })
    this.name = 'DployError'
    this.code = code
    this.where = options.where
    this.fix = options.fix ?? errorTable[code].fix
  }

  toJSON(): ErrorReport {
    return {
      code: this.code,
      message: this.message,
      fix: this.fix,
      ...(this.where === undefined ? {} : { where: this.where }),
    }
  }

  static from(report: ErrorReport): DployError {
    const code = report.code in errorTable ? report.code : 'internal'
    return new DployError(code, report.message, { fix: report.fix, where: report.where })
  }
}

/** Any thrown value as a report; what has no code of ours becomes `internal` with its own message. */
export function reportOf(error: unknown, where?: string): ErrorReport {
  if (error instanceof DployError) {
    const report = error.toJSON()
    return where !== undefined && report.where === undefined ? { ...report, where } : report
  }
  const message = error instanceof Error ? error.message : String(error)
  return { code: 'internal', message, fix: errorTable.internal.fix, ...(where === undefined ? {} : { where }) }
}
