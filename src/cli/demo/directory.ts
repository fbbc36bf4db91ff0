import { readdirSync } from 'node:fs'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'

/** A directory that goes with the demo. Those of demos that were killed go first: their names bear the process that made them. */
export async function demoDirectory(): Promise<AsyncDisposable & { path: string }> {
  for (const name of readdirSync(tmpdir())) {
    const pid = /^dploy-demo-(\d+)-\w{6}$/.exec(name)?.[1]
    // What belongs to another user stays.
    if (pid !== undefined && !runs(Number(pid)))
      await rm(join(tmpdir(), name), { recursive: true, force: true }).catch(() => {})
  }
  const path = await mkdtemp(join(tmpdir(), `dploy-demo-${process.pid}-`))
  return { path, [Symbol.asyncDispose]: () => rm(path, { recursive: true, force: true, maxRetries: 5 }) }
}

function runs(pid: number): boolean {
  try {
    return process.kill(pid, 0)
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === 'EPERM'
  }
}
