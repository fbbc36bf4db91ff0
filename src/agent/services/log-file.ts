import { closeSync, fstatSync, openSync, readSync, statSync, watch } from 'node:fs'
import { basename, dirname } from 'node:path'
import { StringDecoder } from 'node:string_decoder'
import type { LogLine } from './contract.ts'

/** So much of the end of a file is looked at for its last lines. Bytes. */
const tail = 4 * 1024 * 1024
/** Characters of a line that has no end yet. */
const longestPart = 64 * 1024

/** The last lines of a file, at most `count`; none if there is no file. */
export function lastLines(path: string, count: number): string[] {
  return readTail(path, count).lines
}

/** The last lines of a file and, with `follow`, what is written to it until the signal aborts. Notices when it is cut (rotated). */
export async function followFile(
  path: string,
  options: { lines: number; follow: boolean; signal: AbortSignal },
  onLine: (line: LogLine) => void,
): Promise<void> {
  const { lines, size } = readTail(path, options.lines)
  for (const text of lines) onLine({ at: null, text })
  if (!options.follow) return
  let position = size
  let rest = ''
  let decoder = new StringDecoder('utf8')
  const read = () => {
    const now = statSync(path, { throwIfNoEntry: false })?.size ?? 0
    if (now < position) {
      position = 0
      rest = ''
      decoder = new StringDecoder('utf8')
    }
    if (now === position) return
    const file = openSync(path, 'r')
    try {
      const buffer = Buffer.allocUnsafe(64 * 1024)
      for (let length; (length = readSync(file, buffer, 0, buffer.length, position)) > 0; position += length) {
        const parts = (rest + decoder.write(buffer.subarray(0, length))).split('\n')
        rest = parts.pop()!
        for (const text of parts) onLine({ at: Date.now(), text })
        // What never ends a line is shown in parts, so that no memory grows.
        if (rest.length <= longestPart) continue
        onLine({ at: Date.now(), text: rest })
        rest = ''
      }
    } finally {
      closeSync(file)
    }
  }
  const watcher = watch(dirname(path), (_event, name) => {
    if (name === basename(path)) read()
  })
  try {
    read()
    if (!options.signal.aborted)
      await new Promise((resolve) => options.signal.addEventListener('abort', resolve, { once: true }))
  } finally {
    watcher.close()
  }
}

function readTail(path: string, count: number): { lines: string[]; size: number } {
  let file: number
  try {
    file = openSync(path, 'r')
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return { lines: [], size: 0 }
    throw error
  }
  try {
    const { size } = fstatSync(file)
    const start = Math.max(0, size - tail)
    const buffer = Buffer.allocUnsafe(size - start)
    const length = readSync(file, buffer, 0, buffer.length, start)
    const lines = buffer.toString('utf8', 0, length).split('\n')
    if (lines.at(-1) === '') lines.pop()
    return { lines: count === 0 ? [] : lines.slice(-count), size: start + length }
  } finally {
    closeSync(file)
  }
}
