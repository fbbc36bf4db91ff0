import { DployError, type ErrorCode } from '../protocol/errors.ts'
import { typed as typedWords } from '../protocol/typed.ts'
import { typedDestination, type Destination } from './destination.ts'

/** How an ssh ended that did not reach its server. */
export interface SshEnd {
  /** What ssh, and whatever ran on the server, printed under LC_ALL=C; with `-v` the keys that were offered are read from it too. */
  stderr: string
  /** How ssh ended: 255 for its own failures, else what the remote command answered; a text where ssh could not start or was ended. */
  code: number | string | null
  destination: Destination
  /** The name of the server in dploy.yml. */
  server?: string | undefined
  /** Where ssh really went and with what, as `ssh -G` says it. */
  resolved?:
    | { user?: string; hostname?: string; port?: string; configFile?: string | null; identityFiles?: readonly string[] }
    | undefined
}

interface Kind {
  pattern: RegExp
  code: ErrorCode
  /** What happened and, if the table's is not enough, what to type next. */
  say(facts: Facts): { message: string; fix?: string }
}

interface Facts {
  match: RegExpExecArray
  stderr: string
  /** How a person types this destination after `ssh`. */
  typed: string
  user: string
  host: string
  port: string
  keys: string[]
  /** Files of keys that ssh knows of and has not offered. */
  untried: string[]
}

/**
 * What ssh says, by OpenSSH 7 to 10 (sshconnect.c, sshconnect2.c, kex.c, readconf.c), the first that matches. A host
 * key that changed is said together with one that cannot be verified, and a jump host's failure together with ours.
 */
const kinds: readonly Kind[] = [
  {
    pattern: /REMOTE HOST IDENTIFICATION HAS CHANGED/,
    code: 'ssh.host_key_changed',
    say({ stderr, host, port }) {
      const print = /^(SHA256:\S+?)\.?$/m.exec(stderr)?.[1]
      const line = /Offending \S+ key in (\S+:\d+)/.exec(stderr)?.[1]
      const file = /ssh-keygen -f "([^"]+)" -R/.exec(stderr)?.[1]
      const name = /ssh-keygen .*-R "?([^"\s]+)"?/.exec(stderr)?.[1] ?? (port === '22' ? host : `[${host}]:${port}`)
      return {
        message: `${host} shows another host key${print === undefined ? '' : ` (${print})`} than the one known before${line === undefined ? '' : ` (${line})`}: it was installed anew, or somebody stands in between`,
        fix: `Find out why. If it was installed anew: ${typedWords(['ssh-keygen', ...(file === undefined ? [] : ['-f', file]), '-R', name])}`,
      }
    },
  },
  {
    pattern: /Host key verification failed|No \S+ host key is known for|authenticity of host/,
    code: 'ssh.host_key_unknown',
    say: ({ host, typed }) => ({
      message: `The host key of ${host} is not known on this machine yet`,
      fix: `Connect once by hand and compare the fingerprint: ssh ${typed}`,
    }),
  },
  {
    pattern: /Could not resolve hostname (\S+?): (.+)/,
    code: 'ssh.name_unknown',
    say: ({ match }) => ({
      message: `The name ${match[1]} does not resolve (${match[2]!.trim()})`,
      ...(/temporary/i.test(match[2]!)
        ? { fix: 'The name server does not answer: check the network of this machine' }
        : {}),
    }),
  },
  {
    pattern: /connect to (?:host|address) (\S+) port (\d+): Connection refused/,
    code: 'ssh.refused',
    say: ({ match, typed }) => ({
      message: `Nothing listens on port ${match[2]} of ${match[1]}`,
      fix: `Check that sshd runs there, and the port in its address. Then: ssh ${typed}`,
    }),
  },
  {
    pattern:
      /connect to (?:host|address) (\S+) port (\d+): (No route to host|Network is unreachable|Host is down|(?:Connection|Operation) timed out|Permission denied)/,
    code: 'ssh.no_route',
    say: ({ match, typed }) => ({
      message: `${match[1]} port ${match[2]} does not answer (${match[3]})`,
      fix: `Check that it is on, and that network and firewall let you through. Then: ssh ${typed}`,
    }),
  },
  {
    pattern: /Too many authentication failures/,
    code: 'ssh.too_many_failures',
    say: ({ host, typed, keys, untried }) => ({
      message: `${host} ended the login: ssh offered more keys than it allows${listed(keys)}`,
      // A key that is named here is offered first, and IdentitiesOnly leaves out those that only an agent holds.
      fix: `Name the right key in ~/.ssh/config (IdentityFile, IdentitiesOnly yes). ${untried.length > 1 ? 'Whether one of these is it' : 'Whether it opens'}: ssh -o IdentitiesOnly=yes ${untried
        .slice(0, 3)
        .map((file) => `${typedWords(['-i', file])} `)
        .join('')}${typed}`,
    }),
  },
  {
    pattern: /Permission denied \(([^)]*)\)/,
    code: 'ssh.permission_denied',
    say({ match, user, host, typed, keys, stderr }) {
      const offers =
        keys.length > 0
          ? `none of the ${keys.length === 1 ? 'one key' : `${keys.length} keys`} offered is accepted${listed(keys)}`
          : 'no key was offered'
      const locked = /agent refused operation|incorrect passphrase|Load key "([^"]+)"/.exec(stderr)
      const message = `${host} does not let ${user} in: ${offers}${locked ? ` (${locked[0]})` : ''}; it takes ${match[1]}`
      if (keys.length === 0)
        return { message, fix: 'Load your key: ssh-add; or name it in ~/.ssh/config (IdentityFile)' }
      const certificate = keys
        .map((key) => /^(\/.*) \S+-CERT SHA256:/.exec(key)?.[1])
        .find((file) => file !== undefined)
      if (certificate !== undefined)
        return {
          message,
          fix: `See whether the certificate is still valid, and for ${user}: ${typedWords(['ssh-keygen', '-L', '-f', certificate])}`,
        }
      const file = /^(\/.*) \S+ SHA256:/.exec(keys[0]!)?.[1]
      // Where no password opens, ssh-copy-id does not get in either.
      if (!/password|keyboard-interactive/.test(match[1]!))
        return {
          message,
          fix: `It takes no passwords: let somebody who gets in add your public key to ~${user}/.ssh/authorized_keys there. It is this: ${file === undefined ? 'ssh-add -L' : typedWords(['cat', `${file}.pub`])}`,
        }
      return {
        message,
        fix: `Add your public key there: ssh-copy-id ${file === undefined ? '' : `${typedWords(['-i', file])} `}${typed}`,
      }
    },
  },
  {
    pattern: /Unable to negotiate with .*?: (no matching [^.\n]+)(?:\. Their offer: (.*))?/,
    code: 'ssh.failed',
    say: ({ match, host, typed }) => ({
      message: `This ssh and ${host} have no algorithm in common: ${match[1]}${match[2] ? `; it offers ${match[2].trim()}` : ''}`,
      fix: `Upgrade the older of the two, then: ssh ${typed}`,
    }),
  },
  {
    pattern:
      /Bad configuration option: \S+|Bad owner or permissions on \S+|Can't open user config file .*|terminating, \d+ bad configuration options|no argument after keyword .*/,
    code: 'ssh.failed',
    say: ({ match, typed }) => ({
      message: `ssh cannot use its configuration: ${match[0].trim()}`,
      fix: `Correct it, then: ssh ${typed}`,
    }),
  },
  {
    pattern:
      /MaxStartups|Not allowed at this time|(?:kex|ssh)_exchange_identification: |banner exchange|Connection (?:closed|reset) by (?!remote host)\S+/,
    code: 'ssh.closed_early',
    say: ({ host, typed }) => ({
      message: `${host} closed the connection before a login: too many at once (MaxStartups), blocked for a while (fail2ban), or no sshd`,
      fix: `Wait a minute, then: ssh ${typed}`,
    }),
  },
  {
    pattern: /No space left on device/,
    code: 'server.disk_full',
    say: ({ host }) => ({
      message: `The disk of ${host} is full: what the agent needs could not be put there`,
      fix: 'Free space there: 200 MB below /var/lib/dploy, or below ~/.dploy where you are not root',
    }),
  },
  {
    pattern: /account is currently not available|nologin/,
    code: 'ssh.failed',
    say: ({ user, host }) => ({
      message: `${user} has no login shell on ${host}`,
      fix: `Give it one there: chsh -s /bin/sh ${user}; or use another user`,
    }),
  },
]

/** Why ssh did not reach a server, as an error with a code of its own, the cause in plain words and the next command. Pure. */
export function sshFailure(end: SshEnd): DployError {
  const { destination, resolved } = end
  const where = end.server ?? destination.text
  const typed = typedDestination(destination, resolved?.configFile)
  if (end.code === 'ENOENT')
    return new DployError('ssh.failed', 'There is no ssh program on this machine', {
      where,
      fix: 'Install OpenSSH: apt install openssh-client',
    })
  const stderr = end.stderr.replaceAll('\r', '')
  const plain = stderr.replace(/^debug\d: .*$/gm, '')
  for (const { pattern, code, say } of kinds) {
    const match = pattern.exec(plain)
    if (!match) continue
    const keys = offeredKeys(stderr)
    const facts = {
      match,
      stderr,
      typed,
      user: resolved?.user ?? destination.user ?? 'you',
      host: resolved?.hostname ?? destination.host,
      port: resolved?.port ?? String(destination.port ?? 22),
      keys,
      untried: (resolved?.identityFiles ?? []).filter((file) => !keys.some((key) => key.startsWith(`${file} `))),
    }
    const { message, fix } = say(facts)
    return new DployError(code, message, { where, fix })
  }
  const last = plain.trim().split('\n').slice(-3).join('\n')
  return new DployError(
    'ssh.failed',
    last === '' ? `ssh ended with ${end.code ?? 'no code'} before an agent ran` : `ssh ended: ${last}`,
    { where, fix: `Try by hand: ssh ${typed}` },
  )
}

/** The keys that ssh offered, read from what it prints with `-v`: file and fingerprint of each. */
export function offeredKeys(verbose: string): string[] {
  return [...verbose.matchAll(/^debug1: Offering public key: (.+?) (\S+) (SHA256:\S+)/gm)].map(
    ([, file, kind, print]) => `${file} ${kind} ${print}`,
  )
}

/** Whether only `-v` tells more: which keys were offered, or anything at all. */
export function needsVerbose(stderr: string): boolean {
  return stderr.trim() === '' || /Permission denied \(|Too many authentication failures/.test(stderr)
}

/** Whether a person at a terminal could mend it: by a passphrase, a touch, a yes to a host key. */
export function needsPerson(error: DployError): boolean {
  return (
    error.code === 'ssh.permission_denied' ||
    error.code === 'ssh.host_key_unknown' ||
    error.code === 'ssh.too_many_failures'
  )
}

function listed(keys: readonly string[]): string {
  return keys.length === 0 ? '' : `: ${keys.slice(0, 6).join(', ')}`
}
