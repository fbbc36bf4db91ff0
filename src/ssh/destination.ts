import { typed } from '../protocol/typed.ts'

/** Where ssh is to connect to, as the person wrote it in dploy.yml. */
export interface Destination {
  /** What ssh is given as its destination: a host, or an alias of the person's ssh config. */
  host: string
  user: string | null
  port: number | null
  /** For messages, and for commands that a person types. */
  text: string
}

/** Reads `web1`, `deploy@10.0.0.5:2222`, `[2001:db8::1]:22`. What has no user or port leaves them to ssh's configuration. */
export function readDestination(address: string): Destination {
  const at = address.lastIndexOf('@')
  const user = at < 0 ? null : address.slice(0, at)
  const rest = address.slice(at + 1)
  const bracketed = /^\[([^\]]+)\](?::(\d+))?$/.exec(rest)
  // More than one colon without brackets is an IPv6 address, which has no port then.
  const plain = /^([^:]+):(\d+)$/.exec(rest)
  const [host, port] = bracketed ? [bracketed[1]!, bracketed[2]] : plain ? [plain[1]!, plain[2]] : [rest, undefined]
  return { host, user, port: port === undefined ? null : Number(port), text: address }
}

/** The arguments of ssh that name it; the last one is the destination. */
export function destinationArguments({ host, user, port }: Destination): string[] {
  return [...(user === null ? [] : ['-l', user]), ...(port === null ? [] : ['-p', String(port)]), '--', host]
}

/** What a person types behind `ssh` to get there as dploy does; `configFile` where it is not their own. */
export function typedDestination({ host, user, port }: Destination, configFile?: string | null): string {
  return typed([
    ...(configFile ? ['-F', configFile] : []),
    ...(port === null ? [] : ['-p', String(port)]),
    `${user === null ? '' : `${user}@`}${host}`,
  ])
}
