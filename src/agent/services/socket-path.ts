import { closeSync, openSync } from 'node:fs'
import { dirname } from 'node:path'

/**
 * A unix socket's path may have 107 bytes (unix(7)), which a deep directory exceeds. A path by way of an open directory
 * is short however deep that is. The directory stays open until `[Symbol.dispose]`.
 */
export function shortSocketPath(path: string): Disposable & { path: string } {
  if (process.platform !== 'linux' || Buffer.byteLength(path) <= 100) return { path, [Symbol.dispose]() {} }
  const directory = openSync(dirname(path), 'r')
  return {
    path: `/proc/self/fd/${directory}/${path.slice(dirname(path).length + 1)}`,
    [Symbol.dispose]: () => closeSync(directory),
  }
}
