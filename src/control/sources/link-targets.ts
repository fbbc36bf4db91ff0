import { DployError } from '../../protocol/errors.ts'
import { readBatch } from './blob-batch.ts'
import type { TreeItem } from './revision-tree.ts'

/** What symlink(2) takes. Bytes. */
const maxTarget = 4_095

/** Where links lead, by the id of their blob. Throws `source.unsafe` for what cannot be a link's target, and as `readBatch`. */
export async function linkTargets(
  mirror: string,
  links: readonly TreeItem[],
  signal: AbortSignal,
): Promise<Map<string, string>> {
  const paths = new Map<string, string>()
  for (const { path, oid, size } of links) {
    if (size > maxTarget)
      throw new DployError(
        'source.unsafe',
        `${JSON.stringify(path)} is a link whose target is longer than ${maxTarget} bytes`,
        { where: path },
      )
    paths.set(oid, path)
  }
  const targets = new Map<string, string>()
  const begin = (oid: string) => {
    const chunks: Buffer[] = []
    return {
      write: (chunk: Buffer) => void chunks.push(Buffer.from(chunk)),
      done: () => void targets.set(oid, targetOf(Buffer.concat(chunks), paths.get(oid)!)),
      abandon: () => {},
    }
  }
  await readBatch(mirror, [...paths.keys()], begin, (oid) => paths.get(oid) ?? oid, signal)
  return targets
}

/** The text of a link's target. Throws `source.unsafe`. */
export function targetOf(bytes: Buffer, path: string): string {
  const target = bytes.toString('utf8')
  if (!Buffer.from(target, 'utf8').equals(bytes))
    throw new DployError(
      'source.unsafe',
      `${JSON.stringify(path)} is a link to ${JSON.stringify(bytes.toString('latin1'))}, which is not valid UTF-8`,
      { where: path },
    )
  if (target === '' || target.includes('\0'))
    throw new DployError(
      'source.unsafe',
      `${JSON.stringify(path)} is a link to ${target === '' ? 'nothing' : 'a name with a NUL byte'}`,
      { where: path },
    )
  return target
}
