import type { ErrorText } from './text.ts'

/** What a server, its agent, ssh and its services can meet. */
export const serversErrors = {
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
  'file.stalled': {
    status: 504,
    title: 'A copy does not move any more',
    fix: 'Look at the server and at the network between: dploy doctor; then copy it again. Nothing of it was left',
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
} as const satisfies Record<string, ErrorText>
