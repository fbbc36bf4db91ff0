import { createHash, randomBytes } from 'node:crypto'
import { existsSync, mkdirSync, readdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { mustRun, runCommand } from './command.ts'
import { lockFile } from './lock.ts'
import { findMirror } from './mirror.ts'

/** What a bare server has. No Node, no compiler, no agent: what dploy needs it must bring. rsync is for what dploy is compared with. */
const packages = ['dbus', 'iproute2', 'nftables', 'openssh-server', 'rsync', 'sudo', 'systemd', 'systemd-sysv']

/** Raised when what is done to the root after debootstrap changes. */
const recipe = 1

/** Where roots and the disks of running servers are. Outside the checkout, so that a fresh clone does not build it again. */
export function cacheDirectory(): string {
  return process.env['DPLOY_FLEET_CACHE'] ?? '/var/cache/dploy-fleet'
}

/**
 * The directory of the root file system that all servers share, read-only, as the lower layer of their own. Built by debootstrap the
 * first time (about 40 s, 270 MB), once also when several processes ask; `log` gets a line for what takes long.
 */
export async function baseRoot(log: (line: string) => void = () => {}): Promise<string> {
  const codename = /^VERSION_CODENAME=(\S+)/m.exec(readFileSync('/etc/os-release', 'utf8'))?.[1]
  if (!codename) throw new Error('/etc/os-release names no VERSION_CODENAME, so the release to build cannot be chosen')
  const digest = createHash('sha256')
    .update(JSON.stringify({ recipe, packages, codename, arch: process.arch }))
    .digest('hex')
    .slice(0, 12)
  const cache = cacheDirectory()
  const root = join(cache, `root-${codename}-${digest}`)
  if (existsSync(root)) return root
  mkdirSync(cache, { recursive: true, mode: 0o755 })
  await using _lock = await lockFile(join(cache, 'build.lock'))
  if (existsSync(root)) return root
  await removePartial(cache)
  const started = performance.now()
  log(`building the servers' root file system in ${root} (once, about 40 s)`)
  const partial = join(cache, `partial-${randomBytes(4).toString('hex')}`)
  await debootstrap(codename, partial)
  strip(partial)
  // Only a whole root ever has this name.
  await mustRun('sync', ['-f', partial])
  renameSync(partial, root)
  log(`built in ${((performance.now() - started) / 1000).toFixed(1)} s`)
  return root
}

async function debootstrap(codename: string, directory: string): Promise<void> {
  const mirror = findMirror(codename)
  const args = ['--variant=minbase', `--include=${packages.join(',')}`, `--components=${mirror.components.join(',')}`]
  if (mirror.keyring) args.push(`--keyring=${mirror.keyring}`)
  // In namespaces of its own: what it mounts and starts ends with it, however it ends.
  const result = await runCommand(
    'unshare',
    [
      '--mount',
      '--pid',
      '--fork',
      '--kill-child',
      '--mount-proc',
      'debootstrap',
      ...args,
      codename,
      directory,
      mirror.uri,
    ],
    {
      timeout: 600_000,
      env: { ...process.env, ...(await proxyOfApt()), LC_ALL: 'C', DEBIAN_FRONTEND: 'noninteractive' },
    },
  )
  if (result.code === 0) return
  const log = join(directory, 'debootstrap/debootstrap.log')
  const tail = existsSync(log) ? readFileSync(log, 'utf8').split('\n').slice(-15).join('\n') : ''
  throw new Error(
    `debootstrap of ${codename} from ${mirror.uri} failed (code ${result.code}).\n${result.stdout.trim().split('\n').slice(-3).join('\n')}\n${result.stderr.trim()}\n${tail}`,
  )
}

/** debootstrap fetches with wget, which knows the environment's proxies but not those of apt's configuration. */
async function proxyOfApt(): Promise<NodeJS.ProcessEnv> {
  const env: NodeJS.ProcessEnv = {}
  for (const scheme of ['http', 'https'] as const) {
    const { stdout } = await runCommand('apt-config', ['dump', '--format=%v', `Acquire::${scheme}::Proxy`]).catch(
      () => ({ stdout: '' }),
    )
    const proxy = stdout.trim()
    if (proxy && proxy !== 'DIRECT') env[`${scheme}_proxy`] = proxy
  }
  return env
}

/** Leaves what a server has after its installation, and nothing that belongs to one server only. */
function strip(root: string): void {
  for (const path of [
    'var/cache/apt',
    'var/lib/apt/lists',
    'var/log/bootstrap.log',
    'usr/share/doc',
    'usr/share/man',
    'usr/share/locale',
  ]) {
    rmSync(join(root, path), { recursive: true, force: true })
  }
  mkdirSync(join(root, 'var/lib/apt/lists/partial'), { recursive: true })
  mkdirSync(join(root, 'var/cache/apt/archives/partial'), { recursive: true })
  // A shell profile would slow every command over ssh; host keys and the machine's id are made per server.
  for (const name of readdirSync(join(root, 'root'))) rmSync(join(root, 'root', name), { recursive: true })
  for (const name of readdirSync(join(root, 'etc/ssh')))
    if (name.startsWith('ssh_host_')) rmSync(join(root, 'etc/ssh', name))
  for (const name of ['etc/resolv.conf', 'etc/hostname']) rmSync(join(root, name), { force: true })
  writeFileSync(join(root, 'etc/machine-id'), '')
  const units = join(root, 'etc/systemd/system')
  // Nobody logs in on a console, and nothing is fetched or trimmed at night.
  for (const unit of [
    'console-getty.service',
    'getty@.service',
    'apt-daily.timer',
    'apt-daily-upgrade.timer',
    'fstrim.timer',
    'e2scrub_all.timer',
    'dpkg-db-backup.timer',
  ]) {
    rmSync(join(units, unit), { force: true })
    mkdirSync(units, { recursive: true })
    writeFileSync(join(units, unit), '')
  }
}

/** What a killed build left. Called under the lock, so no living build is meant. */
async function removePartial(cache: string): Promise<void> {
  for (const name of readdirSync(cache)) {
    if (name.startsWith('partial-'))
      await mustRun('rm', ['-rf', '--one-file-system', '--', join(cache, name)], { timeout: 120_000 })
  }
}
