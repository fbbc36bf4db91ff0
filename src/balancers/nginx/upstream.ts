import { randomBytes } from 'node:crypto'
import { access, constants, open, readFile, realpath, rename, stat, unlink } from 'node:fs/promises'
import { basename, dirname, join } from 'node:path'
import type { BalancerConfig } from '../../protocol/config/config.ts'
import { DployError } from '../../protocol/errors.ts'
import { markDown, readUpstreams, type UpstreamEntry } from './upstream-file.ts'

/** What the file said at one moment. */
export interface Upstreams {
  text: string
  /** The lines of a server in all upstreams. Throws `balancer.unknown_server`. */
  entriesOf(server: string): UpstreamEntry[]
}

/** The file in which the servers of an upstream stand. */
export class Upstream {
  readonly #config: Extract<BalancerConfig, { kind: 'nginx' }>

  constructor(config: Extract<BalancerConfig, { kind: 'nginx' }>) {
    this.#config = config
  }

  get path(): string {
    return this.#config.upstream_file
  }

  /** Throws `balancer.unreachable` when it cannot be read, and `balancer.unknown_backend`. */
  async read(): Promise<Upstreams> {
    let text: string
    try {
      text = await readFile(this.path, 'utf8')
    } catch (cause) {
      throw unusable(this.path, 'read', cause)
    }
    const all = readUpstreams(text)
    for (const upstream of this.#config.upstream) {
      if (!all.has(upstream))
        throw new DployError(
          'balancer.unknown_backend',
          `${this.path} has no upstream ${upstream}; it has ${[...all.keys()].join(', ') || 'none'}`,
          { where: this.path, fix: 'Check balancer.upstream and balancer.upstream_file in dploy.yml' },
        )
    }
    return {
      text,
      entriesOf: (server) =>
        this.#config.upstream.flatMap((upstream) => this.#entriesOf(server, upstream, all.get(upstream)!)),
    }
  }

  /** The text in which exactly the named servers have changed. */
  changed(upstreams: Upstreams, changes: ReadonlyMap<string, boolean>): string {
    let { text } = upstreams
    for (const [server, down] of changes) {
      // Offsets move with every change, so each server is looked up in the text as it is then.
      const all = readUpstreams(text)
      const entries = this.#config.upstream.flatMap((upstream) => this.#entriesOf(server, upstream, all.get(upstream)!))
      text = markDown(text, entries, () => down)
    }
    return text
  }

  /** Replaces the file at once: nginx never reads half of it, also after a crash. */
  async write(text: string): Promise<void> {
    const path = await realpath(this.path)
    // A name that no `include *.conf` takes up.
    const temporary = join(dirname(path), `.${basename(path)}.${randomBytes(4).toString('hex')}`)
    try {
      const { mode, uid, gid } = await stat(path)
      const file = await open(temporary, 'wx', mode)
      try {
        await file.writeFile(text)
        await file.chmod(mode)
        await file.chown(uid, gid).catch(() => {})
        await file.sync()
      } finally {
        await file.close()
      }
      await rename(temporary, path)
      const directory = await open(dirname(path))
      await directory.sync().finally(() => directory.close())
    } catch (cause) {
      await unlink(temporary).catch(() => {})
      throw unusable(path, 'written', cause)
    }
  }

  async checkWritable(): Promise<void> {
    const directory = dirname(await realpath(this.path))
    try {
      await access(directory, constants.W_OK)
    } catch (cause) {
      throw unusable(directory, 'written', cause)
    }
  }

  /** By the addresses in dploy.yml; else by the comment behind the line, or its host. */
  #entriesOf(server: string, upstream: string, entries: readonly UpstreamEntry[]): UpstreamEntry[] {
    const addresses = Object.hasOwn(this.#config.servers, server) ? this.#config.servers[server]! : null
    const found = entries.filter((entry) =>
      addresses ? addresses.includes(entry.address) : entry.comment === server || entry.host === server,
    )
    const missing = addresses?.find((address) => !found.some((entry) => entry.address === address))
    if (found.length > 0 && missing === undefined) return found
    const has =
      entries
        .map((entry) => (entry.comment === null ? entry.address : `${entry.address} (${entry.comment})`))
        .join(', ') || 'none'
    throw new DployError(
      'balancer.unknown_server',
      `The upstream ${upstream} in ${this.path} has no server ${missing ?? server}${missing === undefined ? '' : ` for ${server}`}; it has ${has}`,
      {
        where: this.path,
        fix: `Write its name behind its line ("server ADDRESS:PORT; # ${server}"), or its address into dploy.yml under balancer.servers`,
      },
    )
  }
}

function unusable(path: string, what: 'read' | 'written', cause: unknown): DployError {
  const { code, message } = cause as NodeJS.ErrnoException
  const why =
    code === 'ENOENT' ? 'it does not exist' : code === 'EACCES' || code === 'EPERM' ? 'this user may not' : message
  const fix =
    code === 'ENOENT'
      ? 'Check balancer.upstream_file in dploy.yml; the driver nginx works on the machine where nginx runs'
      : 'Run dploy serve as a user that may write the file and its directory'
  return new DployError(
    what === 'read' ? 'balancer.unreachable' : 'balancer.refused',
    `${path} cannot be ${what}: ${why}`,
    { where: path, fix, cause },
  )
}
