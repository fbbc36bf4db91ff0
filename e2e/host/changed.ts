import { execFileSync } from 'node:child_process'
import { globSync, readFileSync } from 'node:fs'
import { dirname, join, normalize } from 'node:path'

/**
 * The files that differ from a commit, with those that git does not know yet. Without one: from where this branch left
 * `main`; on `main` itself: from the commit before the last.
 */
export function changedFiles(top: string, since?: string): string[] {
  const git = (...args: string[]) => execFileSync('git', ['-C', top, ...args], { encoding: 'utf8' }).trim()
  const lines = (text: string) => (text === '' ? [] : text.split('\n'))
  const from = since ?? (git('branch', '--show-current') === 'main' ? 'HEAD~1' : git('merge-base', 'main', 'HEAD'))
  return [
    ...new Set([
      ...lines(git('diff', '--name-only', from, '--')),
      ...lines(git('ls-files', '--others', '--exclude-standard')),
    ]),
  ]
}

/**
 * Which test files reach a changed file by their imports, the paths that they read (`new URL('…', import.meta.url)`)
 * included. What a test starts as a program is no import: whole systems run by themselves are found only if they, or what
 * they import, changed. Paths are relative to `top`.
 */
export function testsThatReach(changed: readonly string[], tests: readonly string[], top: string): string[] {
  const importers = new Map<string, string[]>()
  for (const file of globSync('{src,e2e,bench}/**/*.{ts,tsx,mjs}', { cwd: top })) {
    const text = readFileSync(join(top, file), 'utf8')
    for (const [, specifier] of text.matchAll(/(?:\bfrom|\bimport|\bURL)\s*\(?\s*['"`](\.{1,2}\/[^'"`]+)['"`]/g)) {
      const reached = normalize(join(dirname(file), specifier!))
      importers.set(reached, [...(importers.get(reached) ?? []), file])
    }
  }
  const reached = new Set(changed)
  for (const file of reached) for (const importer of importers.get(file) ?? []) reached.add(importer)
  return tests.filter((file) => reached.has(file))
}
