import { spawnSync } from 'node:child_process'
import { existsSync, readFileSync } from 'node:fs'
import { delimiter, join } from 'node:path'

const programs = ['debootstrap', 'systemd-nspawn', 'ip', 'nsenter', 'unshare', 'flock', 'mount', 'ssh-keygen']

let answer: string | null | undefined

/** Why a fleet can't run on this machine, or null when it can. Tests that need one are skipped with this reason. */
export function unavailable(): string | null {
  answer ??= findReason()
  return answer
}

function findReason(): string | null {
  if (process.platform !== 'linux') return `a fleet needs Linux, this is ${process.platform}`
  if (process.getuid?.() !== 0) return 'a fleet needs root'
  const directories = [...(process.env['PATH'] ?? '').split(delimiter), '/usr/sbin', '/sbin']
  const missing = programs.filter((name) => !directories.some((directory) => existsSync(join(directory, name))))
  if (missing.length > 0) return `a fleet needs ${missing.join(', ')}`
  if (!/\boverlay$/m.test(readFileSync('/proc/filesystems', 'utf8')) && spawnSync('modprobe', ['overlay']).status !== 0)
    return 'a fleet needs overlayfs'
  // Root of a container is often not allowed to do what a fleet does.
  const trial = spawnSync(
    'unshare',
    ['--mount', '--net', '--pid', '--fork', '--kill-child', 'mount', '-t', 'tmpfs', 'fleet-trial', '/mnt'],
    { timeout: 5000 },
  )
  if (trial.status !== 0)
    return `a fleet needs to mount file systems and make namespaces: ${trial.stderr.toString().trim()}`
  return null
}
