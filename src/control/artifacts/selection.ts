import picomatch from 'picomatch'

/** Which paths are shipped. */
export interface Selection {
  ships(path: string): boolean
  /** Whether something in this folder may be shipped. */
  enters(folder: string): boolean
}

/**
 * `ship` names files and folders (with all that is in them); none: everything. `leaveOut` are glob patterns that also
 * match names beginning with a dot; a pattern without a slash matches at any depth, and what matches a folder leaves out
 * all that is in it. `.git` and `.dploy` are always left out.
 */
export function selection(ship: readonly string[] | undefined, leaveOut: readonly string[]): Selection {
  const roots = ship?.map((path) => path.replace(/^\.\//, '').replace(/\/+$/, '')).filter((path) => path !== '.')
  const everything = roots === undefined || (ship !== undefined && ship.some((path) => path === '.' || path === './'))
  const patterns = leaveOut.flatMap((pattern) => {
    const plain = pattern.replace(/^\.?\//, '').replace(/\/+$/, '')
    const whole = plain.includes('/') || pattern.startsWith('/') ? plain : `**/${plain}`
    return [whole, `${whole}/**`]
  })
  // A name may have a line feed in it, which "." matches by the flag s only.
  const left = patterns.length > 0 ? picomatch(patterns, { dot: true, flags: 's' }) : () => false
  const reserved = (path: string) => {
    const segments = path.split('/')
    return segments.includes('.git') || segments[0] === '.dploy'
  }
  const isUnder = (path: string, root: string) => path === root || path.startsWith(`${root}/`)
  return {
    ships: (path) => !reserved(path) && (everything || roots!.some((root) => isUnder(path, root))) && !left(path),
    enters: (folder) =>
      !reserved(folder) &&
      (everything || roots!.some((root) => isUnder(folder, root) || isUnder(root, folder))) &&
      !left(folder),
  }
}
