import { readdirSync, readFileSync, readlinkSync } from 'node:fs'
import { basename } from 'node:path'
import { accountOf } from '../commands/as-user.ts'
import { startedAt } from './processes.ts'

/** Tells a service's own processes from all others. */
export interface OwnProcesses {
  has(pid: number): boolean
  /** Its main processes. */
  pids: readonly number[]
}

/** A process that listens where a service is to. */
export interface Holder {
  /** Null: this agent may not see whose socket it is. */
  pid: number | null
  command: string
  /** Unit of systemd that it runs in; null: none, or nobody knows. */
  unit: string | null
  user: string
  /** What dploy started it for; null: not dploy, as far as it can be seen. */
  release: { application: string; environment: string } | null
}

/** A socket that listens: proc_net_tcp, columns local_address, uid, inode. */
interface Listener {
  address: string
  inode: string
  uid: number
}

/** Programs that listen for containers, outside of the unit that started these. */
const forwarders = ['docker-proxy', 'rootlessport', 'rootlesskit', 'slirp4netns', 'pasta', 'pasta.avx2', 'conmon']

const listens = /^ *\d+: ([0-9A-F]+):([0-9A-F]{4}) [0-9A-F]+:[0-9A-F]{4} 0A \S+ \S+ \S+ +(\d+) +\d+ (\d+)/gm

/**
 * Who, other than the service, answers on a port of 127.0.0.1. Null: the service does, or nobody, or nobody can know: a
 * container's forwarder that is younger than the service, or one of its own processes that this agent may not look into.
 */
export function foreignListener(port: number, own: OwnProcesses): Holder | null {
  const listeners = reached(listenersOn(port))
  if (listeners.length === 0) return null
  const ours = listeners.map(({ inode }) => own.pids.some((pid) => holds(pid, inode)))
  if (ours.every((one) => one)) return null
  const holders = holdersOf(new Set(listeners.map(({ inode }) => inode)))
  for (const { inode, uid } of listeners) {
    const pids = holders.get(inode) ?? []
    if (pids.some((pid) => own.has(pid) || forwards(pid, own))) continue
    if (pids.length === 0 && own.pids.some((pid) => !isVisible(pid))) continue
    return holder(pids[0] ?? null, uid)
  }
  return null
}

/** A holder in one phrase. */
export function holderText({ pid, command, unit, user, release }: Holder): string {
  if (pid === null) return `a process of ${user} that this agent may not see`
  const known = [
    unit === null ? [] : `unit ${unit}`,
    release === null ? [] : `application ${release.application}, environment ${release.environment}`,
  ].flat()
  return `process ${pid} of ${user} (${[command, ...known].join('; ')})`
}

/** Units of systemd that a process runs in, outermost first. cgroups(7). */
export function unitsOf(pid: number): string[] {
  return read(`/proc/${pid}/cgroup`)
    .split('\n')
    .flatMap((line) => line.split(':').slice(2).join(':').split('/'))
    .filter((part) => /\.(service|scope)$/.test(part))
}

function listenersOn(port: number): Listener[] {
  const wanted = port.toString(16).toUpperCase().padStart(4, '0')
  return ['/proc/net/tcp', '/proc/net/tcp6'].flatMap((file) =>
    Array.from(read(file).matchAll(listens), ([, address, at, uid, inode]) => ({
      address: address!,
      at: at!,
      uid: Number(uid),
      inode: inode!,
    })).filter(({ at }) => at === wanted),
  )
}

/** Those that a connection to 127.0.0.1 may reach: the kernel prefers the nearest address (inet_lookup_listener). */
function reached(listeners: readonly Listener[]): Listener[] {
  for (const address of ['0100007F', '0000000000000000FFFF00000100007F', '00000000', '0'.repeat(32)]) {
    const found = listeners.filter((listener) => listener.address === address)
    if (found.length > 0) return found
  }
  return []
}

function holdersOf(inodes: ReadonlySet<string>): Map<string, number[]> {
  const found = new Map<string, number[]>()
  for (const name of readdirSync('/proc')) {
    if (!/^\d+$/.test(name)) continue
    for (const inode of socketsOf(Number(name)) ?? [])
      if (inodes.has(inode)) found.set(inode, [...(found.get(inode) ?? []), Number(name)])
  }
  return found
}

const holds = (pid: number, inode: string) => socketsOf(pid)?.has(inode) ?? false

/** Whether this agent may see what a process has open; one that has ended hides nothing. */
function isVisible(pid: number): boolean {
  try {
    readdirSync(`/proc/${pid}/fd`)
    return true
  } catch (error) {
    return (error as NodeJS.ErrnoException).code !== 'EACCES'
  }
}

/** Inodes of the sockets that a process has open; null: this agent may not see them. */
function socketsOf(pid: number): Set<string> | null {
  let descriptors: string[]
  try {
    descriptors = readdirSync(`/proc/${pid}/fd`)
  } catch {
    return null
  }
  return new Set(
    descriptors.flatMap((descriptor) => /^socket:\[(\d+)\]$/.exec(link(`/proc/${pid}/fd/${descriptor}`))?.[1] ?? []),
  )
}

function forwards(pid: number, own: OwnProcesses): boolean {
  if (!forwarders.includes(basename(link(`/proc/${pid}/exe`)))) return false
  const at = startedAt(pid)
  const since = own.pids.map(startedAt).filter((one) => one !== null)
  return at !== null && since.length > 0 && at >= Math.min(...since)
}

function holder(pid: number | null, uid: number): Holder {
  const user = accountOf(uid)?.name ?? `user ${uid}`
  if (pid === null) return { pid, command: '', unit: null, user, release: null }
  const command =
    read(`/proc/${pid}/cmdline`).replaceAll('\0', ' ').trim().slice(0, 200) || read(`/proc/${pid}/comm`).trim()
  const environment = new Map(
    read(`/proc/${pid}/environ`)
      .split('\0')
      .filter((line) => line.startsWith('DPLOY_'))
      .map((line) => [line.slice(0, line.indexOf('=')), line.slice(line.indexOf('=') + 1)]),
  )
  const application = environment.get('DPLOY_APPLICATION')
  const name = environment.get('DPLOY_ENVIRONMENT')
  return {
    pid,
    command,
    unit: unitsOf(pid).at(-1) ?? null,
    user,
    release: application === undefined || name === undefined ? null : { application, environment: name },
  }
}

function read(path: string): string {
  try {
    return readFileSync(path, 'latin1')
  } catch {
    return ''
  }
}

function link(path: string): string {
  try {
    return readlinkSync(path)
  } catch {
    return ''
  }
}
