import { execFile } from 'node:child_process'
import { accessSync, constants, existsSync, readFileSync, statfsSync, statSync } from 'node:fs'
import { dirname, join } from 'node:path'
import type { AgentParams, ServiceState } from '../../protocol/agent-messages.ts'
import type { Diagnosis } from '../../protocol/diagnosis.ts'
import { decodeManifest } from '../../protocol/manifest.ts'
import { isForeign } from '../application-directory.ts'
import { accountOf } from '../commands/as-user.ts'
import { currentRelease, type CurrentRelease } from '../commands/current-release.ts'
import { measureKeepAlive } from './keep-alive.ts'
import { portOwner } from './port-owner.ts'

export interface DiagnoseOptions {
  params: AgentParams<'diagnose'>
  root: string
  stateDirectory: string
  /** The service that runs now; null if there is none. */
  service: ServiceState | null
  signal: AbortSignal
}

/** Looks at everything that a deployment will need on this server. Makes nothing, changes nothing. */
export async function diagnose(options: DiagnoseOptions): Promise<Diagnosis> {
  const { params, root, stateDirectory, service, signal } = options
  const current = currentRelease(root, params.directory)
  const own = {
    directory: current.directory,
    pids: service?.pids ?? [],
    unit: `dploy-${params.application}-${params.environment}`,
    keeperDirectory: join(stateDirectory, 'services', `${params.application}-${params.environment}`),
  }
  const ports = params.ports.map((port) => ({ port, owner: portOwner(port, own) }))
  const ours = ports.find(({ owner }) => owner?.ours)
  const uid = process.getuid?.() ?? 0
  const [keepAlive, sudo] = await Promise.all([
    ours && params.ask ? measureKeepAlive({ port: ours.port, ...params.ask, patience: params.patience, signal }) : null,
    uid === 0 ? true : mayBecomeRoot(),
  ])
  const nearest = nearestExisting(current.directory)
  return {
    current: current.spec?.number ?? null,
    service: service && { state: service.state, release: service.release },
    directory: {
      path: current.directory,
      nearest,
      problem: writeProblem(nearest),
      foreign: foreignRelease(current, params),
    },
    disks: [nearest, stateDirectory].map(diskOf),
    release: sizeOf(current),
    user: { name: accountOf(uid)?.name ?? String(uid), uid, sudo },
    platform: `${process.platform}-${process.arch}`,
    glibc: glibcVersion(),
    ports,
    keepAlive,
  }
}

function nearestExisting(path: string): string {
  for (let at = path; ; at = dirname(at)) if (existsSync(at) || at === dirname(at)) return at
}

/** What serves in the directory, if it is another application's or another environment's. */
function foreignRelease(
  { spec }: CurrentRelease,
  place: { application: string; environment: string },
): Diagnosis['directory']['foreign'] {
  return spec !== null && isForeign(spec, place)
    ? { application: spec.application, environment: spec.environment, release: spec.number }
    : null
}

/** Why nothing can be made in a directory: access(2) says so for permissions, read-only file systems and the immutable flag. */
function writeProblem(path: string): string | null {
  try {
    if (!statSync(path).isDirectory()) return 'ENOTDIR'
    accessSync(path, constants.W_OK | constants.X_OK)
    return null
  } catch (error) {
    return (error as NodeJS.ErrnoException).code ?? 'EIO'
  }
}

function diskOf(path: string): Diagnosis['disks'][number] {
  const { bavail, blocks, bsize, ffree, files } = statfsSync(path)
  return { path, freeBytes: bavail * bsize, totalBytes: blocks * bsize, freeInodes: ffree, totalInodes: files }
}

function sizeOf({ directory, spec }: CurrentRelease): { bytes: number; files: number } {
  if (!spec) return { bytes: 0, files: 0 }
  try {
    const { entries } = decodeManifest(readFileSync(join(directory, '.dploy/manifests', spec.artifact), 'utf8'))
    return {
      bytes: entries.reduce((sum, entry) => sum + (entry.kind === 'file' ? entry.size : 0), 0),
      files: entries.length,
    }
  } catch {
    return { bytes: 0, files: 0 }
  }
}

/** The C library that this very process runs on. */
function glibcVersion(): string | null {
  // Its list of sockets would ask the name service for each.
  const report = process.report as typeof process.report & { excludeNetwork: boolean }
  report.excludeNetwork = true
  const { header } = report.getReport() as { header: { glibcVersionRuntime?: string } }
  return header.glibcVersionRuntime ?? null
}

function mayBecomeRoot(): Promise<boolean> {
  return new Promise((resolve) =>
    execFile(
      'sudo',
      ['-n', 'true'],
      { timeout: 5_000, env: { PATH: '/usr/sbin:/usr/bin:/sbin:/bin', LC_ALL: 'C' } },
      (error) => resolve(error === null),
    ),
  )
}
