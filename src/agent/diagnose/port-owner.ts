import { readdirSync, readFileSync, readlinkSync } from 'node:fs'
import { accountOf } from '../commands/as-user.ts'
import type { Diagnosis } from '../../protocol/diagnosis.ts'

type Owner = NonNullable<Diagnosis['ports'][number]['owner']>

/** What tells the processes of our own service. */
export interface OwnService {
  /** What runs in it is ours. */
  directory: string
  /** Its processes; what they started is ours too. */
  pids: readonly number[]
  /** Its name as a unit of systemd, without an ending. */
  unit: string
  /** Where its process keeper keeps what it needs. */
  keeperDirectory: string
}

/** Who listens on a TCP port, over IPv4 or IPv6; null if nobody does. A socket that is handed over has several holders: if one is ours, it is ours. */
export function portOwner(port: number, own: OwnService): Owner | null {
  const sockets = ['/proc/net/tcp', '/proc/net/tcp6'].flatMap((file) => listening(read(file), port))
  if (sockets.length === 0) return null
  const user = accountOf(sockets[0]!.uid)?.name ?? `user ${sockets[0]!.uid}`
  const holders = holdersOf(new Set(sockets.map(({ inode }) => `socket:[${inode}]`)))
  const pid = holders.find((holder) => isOurs(holder, own)) ?? holders[0] ?? null
  if (pid === null) return { pid, command: 'a process that this agent may not see', user, ours: false }
  const command =
    read(`/proc/${pid}/cmdline`).replaceAll('\0', ' ').trim().slice(0, 200) || read(`/proc/${pid}/comm`).trim()
  return { pid, command, user, ours: isOurs(pid, own) }
}

/** Sockets in the state LISTEN (0A) on a port: proc_net_tcp, columns local_address, st, uid, inode. Pure. */
export function listening(table: string, port: number): { inode: string; uid: number }[] {
  const wanted = port.toString(16).toUpperCase().padStart(4, '0')
  return table.split('\n').flatMap((line) => {
    const columns = line.trim().split(/\s+/)
    if (columns[3] !== '0A' || columns[1]?.split(':')[1] !== wanted) return []
    return [{ uid: Number(columns[7]), inode: columns[9]! }]
  })
}

function holdersOf(sockets: ReadonlySet<string>): number[] {
  return readdirSync('/proc')
    .filter((name) => {
      if (!/^\d+$/.test(name)) return false
      try {
        return readdirSync(`/proc/${name}/fd`).some((file) => sockets.has(link(`/proc/${name}/fd/${file}`)))
      } catch {
        return false
      }
    })
    .map(Number)
}

/** Also systemd with a socket unit of the service, and the service's process keeper: both hold sockets that are handed over. */
function isOurs(pid: number, { directory, pids, unit, keeperDirectory }: OwnService): boolean {
  if (pid === 1)
    return unitDirectories.some((units) =>
      names(units).some((name) => name.startsWith(unit) && name.endsWith('.socket')),
    )
  if (read(`/proc/${pid}/cmdline`).split('\0').includes(keeperDirectory)) return true
  const cwd = link(`/proc/${pid}/cwd`)
  if (cwd === directory || cwd.startsWith(`${directory}/`)) return true
  for (let at = pid; at > 1; at = parentOf(at)) if (pids.includes(at)) return true
  return false
}

const unitDirectories = ['/etc/systemd/system', '/run/systemd/system', '/run/systemd/transient']

function names(directory: string): string[] {
  try {
    return readdirSync(directory)
  } catch {
    return []
  }
}

function parentOf(pid: number): number {
  const stat = read(`/proc/${pid}/stat`)
  return Number(stat.slice(stat.lastIndexOf(')') + 2).split(' ')[1] ?? 0)
}

function read(path: string): string {
  try {
    return readFileSync(path, 'utf8')
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
