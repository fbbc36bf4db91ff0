import { readdirSync, readFileSync, readlinkSync } from 'node:fs'

/** States in /proc/net/tcp (proc_net(5); include/net/tcp_states.h). 08 is a connection whose other end has closed. */
const established = '01'
const listening = '0A'

/** How long a look at all connections is believed by those who only count. Milliseconds. */
const believed = 400

interface Connection {
  localPort: number
  remotePort: number
  state: string
  inode: string
}

let last: { at: number; connections: Connection[] } | null = null

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
  for (let before = -1; before !== found.size;) {
    before = found.size
    for (const { pid, parent, group } of all) if (found.has(parent) || found.has(group)) found.add(pid)
  }
  return found
}

/** How many connections these processes have taken on these ports and not yet closed, at most `age` milliseconds ago. */
export function countConnections(pids: readonly number[], ports: readonly number[], age = believed): number {
  if (pids.length === 0) return 0
  const own = socketsOf(withDescendants(pids))
  return own.size === 0
    ? 0
    : lately(age).filter(
        ({ state, localPort, inode }) => state === established && ports.includes(localPort) && own.has(inode),
      ).length
}

/** Whether one of these processes holds the server's end of a connection from `clientPort` to `port`; null: nobody does any more. */
export function isAnsweredBy(pids: readonly number[], port: number, clientPort: number): boolean | null {
  const end = connections().find(
    ({ localPort, remotePort, inode }) => localPort === port && remotePort === clientPort && inode !== '0',
  )
  return end === undefined ? null : socketsOf(withDescendants(pids)).has(end.inode)
}

/** Whether this process holds a socket that listens on a port. */
export function listensOn(pid: number, port: number): boolean {
  const own = socketsOf([pid])
  return connections().some(
    ({ state, localPort, inode }) => state === listening && localPort === port && own.has(inode),
  )
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

/** For counting, a look that others took a moment ago will do: where many connections wait out their time, one takes long. */
function lately(age: number): Connection[] {
  if (last === null || performance.now() - last.at >= age) last = { at: performance.now(), connections: connections() }
  return last.connections
}

/** Lines of /proc/net/tcp of what listens or is open; of those that wait out their time there may be tens of thousands. */
const open = /^ *\d+: [0-9A-F]+:([0-9A-F]{4}) [0-9A-F]+:([0-9A-F]{4}) (01|08|0A) \S+ \S+ \S+ +\d+ +\d+ (\d+)/gm

function connections(): Connection[] {
  return ['/proc/net/tcp', '/proc/net/tcp6'].flatMap((file) => {
    let text: string
    try {
      text = readFileSync(file, 'latin1')
    } catch {
      return []
    }
    return Array.from(text.matchAll(open), ([, local, remote, state, inode]) => ({
      localPort: Number.parseInt(local!, 16),
      remotePort: Number.parseInt(remote!, 16),
      state: state!,
      inode: inode!,
    }))
  })
}
