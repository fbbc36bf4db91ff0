import type { Revision } from '../../protocol/release-spec.ts'
import type { ChangedFile } from '../../protocol/api/source.ts'
import { git } from './git.ts'

/** What a mirror tells people who choose a revision. Reads only; `path` is the bare mirror, fetched before. */

/** How many branches and tags are listed, the latest first. */
const maxNames = 50
/** How many files of a difference are named. */
const maxFiles = 200

export interface Named {
  name: string
  revision: Revision
}

export interface Files {
  count: number
  bytes: number
  files: ChangedFile[]
}

/** Branches or tags, those with the latest commits first. */
export async function namesOf(path: string, kind: 'heads' | 'tags', signal: AbortSignal): Promise<Named[]> {
  // An annotated tag is an object of its own; the fields with `*` are those of the commit that it names.
  const fields = [
    'refname:lstrip=2',
    'objectname',
    '*objectname',
    'subject',
    '*subject',
    'authorname',
    '*authorname',
    'creatordate:unix',
  ]
  const text = (
    await git(
      [
        'for-each-ref',
        '--sort=-creatordate',
        `--count=${maxNames}`,
        `--format=${fields.map((field) => `%(${field})`).join('%00')}%00`,
        `refs/${kind}`,
      ],
      { cwd: path, signal },
    )
  ).toString('utf8')
  const values = text.split('\0')
  const names: Named[] = []
  for (let index = 0; index + 7 < values.length; index += 8) {
    const [name, own, peeled, subject, peeledSubject, author, peeledAuthor, time] = values.slice(index, index + 8)
    const ref = name!.replace(/^\n/, '')
    names.push({
      name: ref,
      revision: {
        commit: peeled || own!,
        ref,
        subject: (peeled ? peeledSubject : subject) ?? '',
        author: (peeled ? peeledAuthor : author) ?? '',
        time: Number(time) * 1000,
      },
    })
  }
  return names
}

/** The arguments with which `git log` finds commits of a branch, or of all, by their message. */
export function searchArguments(search: string, start: string, limit: number): string[] {
  const found =
    search === ''
      ? ['--end-of-options', start]
      : ['--regexp-ignore-case', '--fixed-strings', `--grep=${search}`, '--branches', '--tags']
  return [`--max-count=${limit}`, ...found]
}

/** The files that differ between two commits, below `subfolder`, and how large their new content is. */
export async function filesBetween(
  path: string,
  from: string,
  to: string,
  subfolder: string | undefined,
  signal: AbortSignal,
): Promise<Files> {
  const text = (
    await git(
      [
        'diff-tree',
        '-r',
        '-z',
        '--no-renames',
        '--end-of-options',
        from,
        to,
        '--',
        ...(subfolder === undefined ? [] : [`:(literal)${subfolder}`]),
      ],
      { cwd: path, signal },
    )
  ).toString('utf8')
  const fields = text.split('\0')
  const changed: { path: string; change: ChangedFile['change']; object: string }[] = []
  for (let index = 0; index + 1 < fields.length; index += 2) {
    const [, , , object, status] = fields[index]!.split(' ')
    changed.push({
      path: fields[index + 1]!,
      object: object!,
      change: status === 'A' ? 'added' : status === 'D' ? 'removed' : 'changed',
    })
  }
  const sizes = await sizesOf(
    path,
    changed.map(({ object }) => object),
    signal,
  )
  const files = changed.map((file, index) => ({ path: file.path, change: file.change, bytes: sizes[index]! }))
  return {
    count: files.length,
    bytes: files.reduce((sum, file) => sum + file.bytes, 0),
    files: files.slice(0, maxFiles),
  }
}

async function sizesOf(path: string, objects: readonly string[], signal: AbortSignal): Promise<number[]> {
  if (objects.length === 0) return []
  const text = (
    await git(['cat-file', '--batch-check=%(objectsize)'], {
      cwd: path,
      signal,
      input: Buffer.from(objects.map((object) => `${object}\n`).join('')),
    })
  ).toString()
  // What is no object here (a removed file, a submodule) has no size.
  return text
    .trimEnd()
    .split('\n')
    .map((line) => (/^\d+$/.test(line) ? Number(line) : 0))
}
