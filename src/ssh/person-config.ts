import { createHash } from 'node:crypto'
import { existsSync, lstatSync, mkdirSync } from 'node:fs'
import { homedir } from 'node:os'
import { join } from 'node:path'
import { DployError } from '../protocol/errors.ts'
import type { Destination } from './destination.ts'
import { sshFailure } from './failure.ts'
import { askResolved } from './resolved.ts'

/** What ssh would do for a destination by the person's own configuration. */
export interface PersonConfig {
  /** Where it really goes. */
  user: string
  hostname: string
  port: string
  /** What ssh reads in place of ~/.ssh/config. */
  configFile: string | null
  /** The files of keys that it tries, in this order, as far as they are there. */
  identityFiles: string[]
  /** The socket of a connection that is open or will be kept open. */
  controlPath: string
  /** Tells apart whatever the configuration tells apart. */
  digest: string
  /** The options that make ssh share that connection; none where the person's configuration does so itself. */
  sharing: string[]
}

/** What a shell says of a program that is not there. */
const notFound = 127

/** How long a connection that nothing uses stays open for the next command. Seconds. */
const persist = 600

/** Asks `ssh -G`, which reads the configuration and connects to nothing. Throws as `sshFailure` says. */
export async function personConfig(destination: Destination, configFile: string | null): Promise<PersonConfig> {
  const { code, text } = await askResolved(destination, configFile)
  if (code !== 0)
    throw sshFailure({ stderr: text, code: code === notFound ? 'ENOENT' : code, destination, resolved: { configFile } })
  const lines = text
    .trim()
    .split('\n')
    .map((line): [string, string] => [line.slice(0, line.indexOf(' ')), line.slice(line.indexOf(' ') + 1)])
  const values = new Map(lines)
  const get = (key: string, other = '') => values.get(key) ?? other
  const common = {
    user: get('user'),
    hostname: get('hostname'),
    port: get('port', '22'),
    configFile,
    digest: createHash('sha256').update(text).digest('hex'),
    identityFiles: lines
      .flatMap(([key, file]) => (key === 'identityfile' ? [file.replace(/^~(?=\/)/, homedir())] : []))
      .filter((file) => existsSync(file)),
  }
  // A connection of the person's own serves as well, if it outlives the command that opened it.
  if (get('controlpath', 'none') !== 'none' && !/^(no|false|)$/.test(get('controlpersist', 'no'))) {
    const master = /^(no|false)$/.test(get('controlmaster', 'no')) ? ['-o', 'ControlMaster=auto'] : []
    return { ...common, controlPath: get('controlpath'), sharing: master }
  }
  // Whatever the configuration says differently is another connection. Short: a socket's path has 104 bytes at most, and
  // ssh puts 17 behind it while it makes the socket.
  const controlPath = join(socketDirectory(), common.digest.slice(0, 20))
  return {
    ...common,
    controlPath,
    sharing: ['-o', 'ControlMaster=auto', '-o', `ControlPath=${controlPath}`, '-o', `ControlPersist=${persist}`],
  }
}

/** A directory for sockets and pipes that only this user can enter. Throws `path.unsafe` if somebody else made it. */
export function socketDirectory(): string {
  const uid = process.getuid?.() ?? 0
  const path = process.env.XDG_RUNTIME_DIR ? join(process.env.XDG_RUNTIME_DIR, 'dploy') : `/tmp/dploy-${uid}`
  const directory = path.length > 60 ? `/tmp/dploy-${uid}` : path
  mkdirSync(directory, { recursive: true, mode: 0o700 })
  const stat = lstatSync(directory)
  if (!stat.isDirectory() || stat.uid !== uid || (stat.mode & 0o077) !== 0)
    throw new DployError('path.unsafe', `${directory} does not belong to this user alone`, {
      where: directory,
      fix: `Remove it: rm -r ${directory}`,
    })
  return directory
}
