import { mkdirSync, readFileSync, rmSync, statSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import { mustRun, runCommand } from './command.ts'
import { diskDirectory, machineOf, type Run } from './run.ts'

/** The mount point of a server's file system on the host: its own layer over the root that all share. */
export function rootOf(run: Run, server: string): string {
  return join(diskDirectory(run.number), server, 'root')
}

/** Mounts a server's file system; what the server wrote before is there again. `/srv` is no layer: 20,000 files cost there what they cost on a disk. */
export async function mountDisk(run: Run, server: string, base: string): Promise<void> {
  const directory = join(diskDirectory(run.number), server)
  const [upper, work, root, srv] = ['upper', 'work', 'root', 'srv'].map((name) => join(directory, name)) as [
    string,
    string,
    string,
    string,
  ]
  for (const path of [upper, work, root, srv]) mkdirSync(path, { recursive: true, mode: 0o755 })
  await mustRun('mount', [
    '-t',
    'overlay',
    machineOf(run, server),
    '-o',
    `lowerdir=${base},upperdir=${upper},workdir=${work}`,
    root,
  ])
  await mustRun('mount', ['--bind', srv, join(root, 'srv')])
}

/** Unmounts it. A file system stays busy for a moment after its last process: waits up to 10 s, then detaches it. */
export async function unmountDisk(run: Run, server: string): Promise<void> {
  await unmount(join(rootOf(run, server), 'srv'))
  await unmount(rootOf(run, server))
}

/** Removes the disks of all servers of a run. */
export async function removeDisks(run: Run): Promise<void> {
  const directory = diskDirectory(run.number)
  // Deepest first.
  for (const point of mountsUnder(directory).reverse()) await unmount(point)
  if (mountsUnder(directory).length > 0)
    throw new Error(`Something is still mounted under ${directory}: not removing it`)
  await mustRun('rm', ['-rf', '--one-file-system', '--', directory], { timeout: 120_000 })
  for (const server of run.servers) {
    // What systemd-nspawn would have removed itself, had it not been killed.
    for (const place of ['propagate', 'unix-export'])
      rmSync(join('/run/systemd/nspawn', place, machineOf(run, server.name)), { recursive: true, force: true })
  }
}

function mountsUnder(directory: string): string[] {
  return readFileSync('/proc/self/mountinfo', 'utf8')
    .split('\n')
    .map((line) => line.split(' ')[4] ?? '')
    .filter((point) => point.startsWith(`${directory}/`))
}

async function unmount(point: string): Promise<void> {
  forgetNspawnLock(point)
  for (let attempt = 0; ; attempt += 1) {
    if (!mountsUnder(join(point, '..')).includes(point)) return
    const lazily = attempt >= 200
    const { code, stderr } = await runCommand('umount', [...(lazily ? ['--lazy'] : []), point])
    if (code === 0) return
    if (lazily) throw new Error(`Cannot unmount ${point}: ${stderr.trim()}`)
    await delay(50)
  }
}

/** systemd-nspawn locks the directory that it runs by its inode, in a file that it leaves when it is killed. */
function forgetNspawnLock(point: string): void {
  const stat = statSync(point, { throwIfNoEntry: false })
  if (stat) rmSync(`/run/systemd/nspawn/locks/inode-${stat.dev}:${stat.ino}`, { force: true })
}
