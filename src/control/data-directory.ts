import { existsSync, mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'

/** Makes the directory of a control plane's data: its owner's alone, and ignored by git, since it often stands in a repository and holds keys. */
export function makeDataDirectory(data: string): void {
  mkdirSync(data, { recursive: true, mode: 0o700 })
  const ignore = join(data, '.gitignore')
  if (!existsSync(ignore)) writeFileSync(ignore, '*\n')
}
