import { existsSync, readFileSync, rmSync, writeFileSync } from 'node:fs'

const saved = '/run/dploy-fleet/limits.json'

/** What one server needs of a limit that the kernel counts per user, for all servers together since root is one user on all of them. */
const perServer = { '/proc/sys/fs/inotify/max_user_instances': 16, '/proc/sys/fs/inotify/max_user_watches': 4096 }

/** Raises the kernel's limits where this many servers would not fit, and notes what they were. Never lowers one. */
export function raiseLimits(servers: number): void {
  const before: Record<string, number> = existsSync(saved)
    ? (JSON.parse(readFileSync(saved, 'utf8')) as Record<string, number>)
    : {}
  for (const [path, each] of Object.entries(perServer)) {
    const now = Number(readFileSync(path, 'utf8'))
    const wanted = (before[path] ?? now) + servers * each
    if (now >= wanted) continue
    before[path] ??= now
    writeFileSync(saved, JSON.stringify(before))
    writeFileSync(path, String(wanted))
  }
}

/** Puts the limits back where they were. For when the last fleet is gone. */
export function restoreLimits(): void {
  if (!existsSync(saved)) return
  for (const [path, value] of Object.entries(JSON.parse(readFileSync(saved, 'utf8')) as Record<string, number>))
    writeFileSync(path, String(value))
  rmSync(saved)
}
