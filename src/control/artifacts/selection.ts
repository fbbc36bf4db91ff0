import picomatch from 'picomatch'

/**
 * Which paths are shipped. `ship` names files and folders (with all that is in them); none: everything. `leaveOut` are
 * glob patterns that also match names beginning with a dot; a pattern without a slash matches at any depth, and what
 * matches a folder leaves out all that is in it. `.git` and `.dploy` are always left out.
 */
export function selection(ship: readonly string[] | undefined, leaveOut: readonly string[]): (path: string) => boolean {
  const roots = ship?.map((path) => path.replace(/^\.\//, '').replace(/\/+$/, '')).filter((path) => path !== '.')
  const everything = roots === undefined || (ship !== undefined && ship.some((path) => path === '.' || path === './'))
  const patterns = leaveOut.flatMap((pattern) => {
    const plain = pattern.replace(/^\.?\//, '').replace(/\/+$/, '')
    const whole = plain.includes('/') || pattern.startsWith('/') ? plain : `**/${plain}`
    return [whole, `${whole}/**`]
  })
  const left = patterns.length > 0 ? picomatch(patterns, { dot: true }) : () => false
  return (path) => {
    const segments = path.split('/')
    if (segments.includes('.git') || segments[0] === '.dploy') return false
    if (!everything && !roots!.some((root) => path === root || path.startsWith(`${root}/`))) return false
    return !left(path)
  }
}
