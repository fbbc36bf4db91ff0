import { readdirSync, readFileSync, readlinkSync } from 'node:fs'

/** A process that runs code of a release that no longer serves. */
export interface OldProcess {
  pid: number
  release: number
  /** What of it is the old release's. */
  what: 'directory' | 'program' | 'files'
  command: string
}

/**
 * Processes whose directory, program or mapped files are in another release than `current`: workers that a service left
 * behind, consoles and cron jobs. `known` are those of releases that are kept warm or are about to end. Looks at what
 * this user may see.
 */
export function findOldCode(applicationDirectory: string, current: number, known: ReadonlySet<number>): OldProcess[] {
  const inRelease = new RegExp(`${escape(`${applicationDirectory}/releases/`)}(\\d+)(/|$| )`)
  const old: OldProcess[] = []
  for (const name of readdirSync('/proc')) {
    if (!/^\d+$/.test(name) || Number(name) === process.pid || known.has(Number(name))) continue
    for (const [what, text] of [
      ['directory', () => readlinkSync(`/proc/${name}/cwd`)],
      ['program', () => readlinkSync(`/proc/${name}/exe`)],
      ['files', () => readFileSync(`/proc/${name}/maps`, 'latin1')],
    ] as const) {
      const release = releaseIn(text, inRelease, current)
      if (release === null) continue
      old.push({ pid: Number(name), release, what, command: commandOf(name) })
      break
    }
  }
  return old
}

function releaseIn(read: () => string, inRelease: RegExp, current: number): number | null {
  try {
    for (const line of read().split('\n')) {
      const release = inRelease.exec(line)?.[1]
      if (release !== undefined && Number(release) !== current) return Number(release)
    }
  } catch {
    // It has ended, or is another user's.
  }
  return null
}

function commandOf(pid: string): string {
  try {
    return readFileSync(`/proc/${pid}/cmdline`, 'utf8').replaceAll('\0', ' ').trim().slice(0, 80)
  } catch {
    return ''
  }
}

function escape(text: string): string {
  return text.replace(/[.*+?^${}()|[\]\\]/g, '\\$&')
}
