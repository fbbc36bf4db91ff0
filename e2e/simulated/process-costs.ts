import { readdirSync, readFileSync } from 'node:fs'

/** Who takes processor time while a page watches simulated servers. `renderer`: the process of the page; `browser`: the others of Chromium. */
export type Part = 'control plane' | 'servers' | 'renderer' | 'browser'

export interface Costs {
  /** Seconds of processor time since each process began. */
  seconds: Record<Part, number>
  /** What the page's process holds of memory. Bytes. */
  rendererBytes: number
}

/** Clock ticks of /proc a second: 100 on every Linux that Node runs on (sysconf(_SC_CLK_TCK)). */
const ticks = 100
const pageBytes = 4_096

/** What the processes that this one started have cost, as Linux counts it (proc(5)). */
export function processCosts(): Costs {
  const seconds: Costs['seconds'] = { 'control plane': 0, servers: 0, renderer: 0, browser: 0 }
  let rendererBytes = 0
  for (const pid of descendants(process.pid)) {
    const part = partOf(read(pid, 'cmdline'))
    // The fields after the name, which may hold anything: state is the third of all.
    const fields = read(pid, 'stat')
      .replace(/^.*\) /s, '')
      .split(' ')
    if (part === null || fields.length < 13) continue
    seconds[part] += (Number(fields[11]) + Number(fields[12])) / ticks
    // Chromium keeps a second one ready, which shows nothing.
    if (part === 'renderer')
      rendererBytes = Math.max(rendererBytes, Number(read(pid, 'statm').split(' ')[1]) * pageBytes)
  }
  return { seconds, rendererBytes }
}

function partOf(commandLine: string): Part | null {
  if (commandLine.includes('servers-process.ts')) return 'servers'
  if (commandLine.includes('main.ts\0serve') && !commandLine.includes('tether.ts')) return 'control plane'
  if (commandLine.includes('--type=renderer')) return 'renderer'
  return commandLine.includes('chrom') ? 'browser' : null
}

function descendants(root: number): number[] {
  const parents = new Map<number, number>()
  for (const name of readdirSync('/proc'))
    if (/^\d+$/.test(name))
      parents.set(
        Number(name),
        Number(
          read(Number(name), 'stat')
            .replace(/^.*\) /s, '')
            .split(' ')[1],
        ),
      )
  const below = (pid: number): boolean => {
    const parent = parents.get(pid)
    return parent !== undefined && (parent === root || below(parent))
  }
  return [...parents.keys()].filter(below)
}

function read(pid: number, file: string): string {
  try {
    return readFileSync(`/proc/${pid}/${file}`, 'utf8')
  } catch {
    // It has ended meanwhile.
    return ''
  }
}
