import { readdirSync, readFileSync, readlinkSync } from 'node:fs'
import { accountOf } from '../commands/as-user.ts'
import type { Diagnosis } from '../../protocol/diagnosis.ts'

type Owner = NonNullable<Diagnosis['ports'][number]['owner']>

/** Who listens on a TCP port, over IPv4 or IPv6; null if nobody does. `directory` and `pids` tell our own service. */
export function portOwner(port: number, directory: string, pids: readonly number[]): Owner | null {
  const sockets = ['/proc/net/tcp', '/proc/net/tcp6'].flatMap((file) => listening(read(file), port))
  if (sockets.length === 0) return null
  const user = accountOf(sockets[0]!.uid)?.name ?? `user ${sockets[0]!.uid}`
  const pid = holderOf(new Set(sockets.map(({ inode }) => `socket:[${inode}]`)))
  if (pid === null) return { pid, command: 'a process that this agent may not see', user, ours: false }
  const command = read(`/proc/${pid}/cmdline`).replaceAll('\0', ' ').trim().slice(0, 200) || read(`/proc/${pid}/comm`).trim()
  return { pid, command, user, ours: isOurs(pid, directory, pids) }
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

function holderOf(sockets: ReadonlySet<string>): number | null {
  for (const name of readdirSync('/proc')) {
    if (!/^\d+$/.test(name)) continue
    let files: string[]
    try {
      files = readdirSync(`/proc/${name}/fd`)
    } catch {
      continue
    }
    for (const file of files) if (sockets.has(link(`/proc/${name}/fd/${file}`))) return Number(name)
  }
  return null
}

/** A process of the service, something that one of these started, or what runs in the application's directory. */
function isOurs(pid: number, directory: string, pids: readonly number[]): boolean {
  const cwd = link(`/proc/${pid}/cwd`)
  if (cwd === directory || cwd.startsWith(`${directory}/`)) return true
  for (let at = pid; at > 1; at = parentOf(at)) if (pids.includes(at)) return true
  return false
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
