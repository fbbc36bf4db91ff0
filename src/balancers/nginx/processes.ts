import { readdir, readFile, readlink } from 'node:fs/promises'
import { isIPv4 } from 'node:net'

/** A worker process of nginx. */
export interface Worker {
  pid: number
  /** Differs from that of every other process, also of a later one with the same pid. */
  id: string
  /** An old one, which a reload replaced: it takes no connection any more and ends with its last one. */
  shuttingDown: boolean
}

/**
 * The workers of a master process, from /proc. nginx writes into its command line what a process is for
 * (ngx_setproctitle): `nginx: worker process`, and `nginx: worker process is shutting down`.
 */
export async function workersOf(master: number): Promise<Worker[]> {
  const workers = await Promise.all(
    (await childrenOf(master)).map(async (pid) => {
      const title = await readFile(`/proc/${pid}/cmdline`, 'latin1').catch(() => '')
      const stat = await readFile(`/proc/${pid}/stat`, 'latin1').catch(() => '')
      if (!title.startsWith('nginx: worker process')) return null
      return { pid, id: `${pid}:${statFields(stat)[startTime]}`, shuttingDown: title.includes('is shutting down') }
    }),
  )
  return workers.filter((worker) => worker !== null)
}

/** Whether this is the master process of an nginx. */
export async function isMaster(pid: number): Promise<boolean> {
  return (await readFile(`/proc/${pid}/cmdline`, 'latin1').catch(() => '')).startsWith('nginx: master process')
}

/**
 * How many TCP connections the processes have to any of the addresses (`IP:PORT`). Sockets are told by their inode; those
 * of processes that may not be looked into (another user's) by the user they belong to.
 */
export async function connectionsTo(addresses: readonly string[], workers: readonly Worker[]): Promise<number> {
  if (workers.length === 0) return 0
  const wanted = new Set(addresses)
  const tables = await Promise.all(
    ['tcp', 'tcp6'].map((name) => readFile(`/proc/${workers[0]!.pid}/net/${name}`, 'latin1').catch(() => '')),
  )
  const sockets = tables
    .flatMap((table) => table.split('\n').slice(1).map(parseSocket))
    .filter((socket) => socket !== null && wanted.has(socket.remote))
  if (sockets.length === 0) return 0
  const inodes = new Set<string>()
  const users = new Set<string>()
  await Promise.all(
    workers.map(async ({ pid }) => {
      try {
        for (const link of await Promise.all(
          (await readdir(`/proc/${pid}/fd`)).map((fd) => readlink(`/proc/${pid}/fd/${fd}`).catch(() => '')),
        )) {
          const inode = /^socket:\[(\d+)\]$/.exec(link)?.[1]
          if (inode !== undefined) inodes.add(inode)
        }
      } catch (error) {
        if ((error as NodeJS.ErrnoException).code !== 'EACCES' && (error as NodeJS.ErrnoException).code !== 'EPERM')
          return
        const user = /^Uid:\s+\d+\s+(\d+)/m.exec(await readFile(`/proc/${pid}/status`, 'latin1').catch(() => ''))?.[1]
        if (user !== undefined) users.add(user)
      }
    }),
  )
  return sockets.filter((socket) => inodes.has(socket!.inode) || (socket!.inode !== '0' && users.has(socket!.user)))
    .length
}

/** Position of the start time among the fields behind the command name (proc_pid_stat(5): field 22, the first here is 3). */
const startTime = 19

function statFields(stat: string): string[] {
  return stat.slice(stat.lastIndexOf(')') + 2).split(' ')
}

async function childrenOf(pid: number): Promise<number[]> {
  try {
    return (await readFile(`/proc/${pid}/task/${pid}/children`, 'latin1'))
      .split(' ')
      .filter((text) => text.trim() !== '')
      .map(Number)
  } catch {
    // Kernels without CONFIG_PROC_CHILDREN.
    const all = (await readdir('/proc')).filter((name) => /^\d+$/.test(name)).map(Number)
    const parents = await Promise.all(
      all.map(async (one) => statFields(await readFile(`/proc/${one}/stat`, 'latin1').catch(() => ''))[1]),
    )
    return all.filter((_, index) => parents[index] === String(pid))
  }
}

/** A line of /proc/net/tcp (proc_net_tcp(5)): numbers in hexadecimal, each four bytes of an address in the machine's order. */
function parseSocket(line: string): { remote: string; user: string; inode: string } | null {
  const fields = line.trim().split(/\s+/)
  const match = /^([0-9A-F]{8}|[0-9A-F]{32}):([0-9A-F]{4})$/.exec(fields[2] ?? '')
  if (!match) return null
  return { remote: `${ipOf(match[1]!)}:${Number.parseInt(match[2]!, 16)}`, user: fields[7]!, inode: fields[9]! }
}

function ipOf(hex: string): string {
  const bytes = hex.match(/.{8}/g)!.flatMap((word) => word.match(/../g)!.toReversed())
  if (bytes.length === 4) return bytes.map((byte) => Number.parseInt(byte, 16)).join('.')
  if (bytes.slice(0, 12).join('') === '00000000000000000000FFFF')
    return bytes
      .slice(12)
      .map((byte) => Number.parseInt(byte, 16))
      .join('.')
  return canonicalIp(bytes.join('').match(/.{4}/g)!.join(':'))
}

/** One way to write an address, so that two can be compared as text. */
export function canonicalIp(ip: string): string {
  return isIPv4(ip) ? ip : new URL(`http://[${ip}]`).hostname
}
