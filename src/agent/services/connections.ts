import { readdirSync, readFileSync, readlinkSync } from 'node:fs'

/** States in /proc/net/tcp (proc_net(5); include/net/tcp_states.h). */
const established = '01'
const listening = '0A'

/** These processes, and those of their process groups and below them. */
export function withDescendants(pids: readonly number[]): Set<number> {
  const found = new Set(pids)
  const all: { pid: number; parent: number; group: number }[] = []
  for (const name of readdirSync('/proc')) {
    if (!/^\d+$/.test(name)) continue
    try {
      const stat = readFileSync(`/proc/${name}/stat`, 'latin1')
      // proc_pid_stat(5): after the name in brackets come state, parent, process group.
      const [, parent, group] = stat.slice(stat.lastIndexOf(')') + 2).split(' ')
      all.push({ pid: Number(name), parent: Number(parent), group: Number(group) })
    } catch {
      // It has ended.
    }
  }
  for (let before = -1; before !== found.size; ) {
    before = found.size
    for (const { pid, parent, group } of all) if (found.has(parent) || found.has(group)) found.add(pid)
  }
  return found
}

/** How many connections these processes have taken on these ports and not yet closed. */
export function countConnections(pids: readonly number[], ports: readonly number[]): number {
  if (pids.length === 0) return 0
  const own = socketsOf(withDescendants(pids))
  return connections().filter(({ state, localPort, inode }) => state === established && ports.includes(localPort) && own.has(inode)).length
}

/** Whether one of these processes holds the server's end of a connection from `clientPort` to `port`; null: nobody does any more. */
export function isAnsweredBy(pids: readonly number[], port: number, clientPort: number): boolean | null {
  const end = connections().find(({ localPort, remotePort, inode }) => localPort === port && remotePort === clientPort && inode !== '0')
  return end === undefined ? null : socketsOf(withDescendants(pids)).has(end.inode)
}

/** Whether this process holds a socket that listens on a port. */
export function listensOn(pid: number, port: number): boolean {
  const own = socketsOf([pid])
  return connections().some(({ state, localPort, inode }) => state === listening && localPort === port && own.has(inode))
}

/** Inodes of the sockets that processes have open. */
function socketsOf(pids: Iterable<number>): Set<string> {
  const inodes = new Set<string>()
  for (const pid of pids) {
    let descriptors: string[]
    try {
      descriptors = readdirSync(`/proc/${pid}/fd`)
    } catch {
      continue
    }
    for (const descriptor of descriptors) {
      try {
        const inode = /^socket:\[(\d+)\]$/.exec(readlinkSync(`/proc/${pid}/fd/${descriptor}`))?.[1]
        if (inode !== undefined) inodes.add(inode)
      } catch {
        // It was closed meanwhile.
      }
    }
  }
  return inodes
}

function connections(): { localPort: number; remotePort: number; state: string; inode: string }[] {
  return ['/proc/net/tcp', '/proc/net/tcp6'].flatMap((file) => {
    let text: string
    try {
      text = readFileSync(file, 'latin1')
    } catch {
      return []
    }
    return text
      .trimEnd()
      .split('\n')
      .slice(1)
      .map((line) => {
        const [, local, remote, state, , , , , , inode] = line.trim().split(/\s+/)
        return { localPort: portOf(local!), remotePort: portOf(remote!), state: state!, inode: inode! }
      })
  })
}

function portOf(address: string): number {
  return Number.parseInt(address.slice(address.lastIndexOf(':') + 1), 16)
}
