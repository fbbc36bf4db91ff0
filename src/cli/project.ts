import { existsSync, readFileSync } from 'node:fs'
import { dirname, join, resolve } from 'node:path'
import { readConfig } from '../protocol/config/text.ts'
import type { Config } from '../protocol/config/config.ts'
import { DployError } from '../protocol/errors.ts'

/** The dploy.yml that a command works with. */
export interface Project {
  config: Config
  text: string
  file: string
  /** The directory in which it stands. */
  base: string
}

/** Reads the named file, or the dploy.yml of this directory or of one above it. Throws `config.missing` and `config.invalid`. */
export function readProject(file: string | undefined, directory: string): Project {
  const path = file === undefined ? findUpwards(directory) : resolve(directory, file)
  if (path === null || !existsSync(path)) {
    throw new DployError(
      'config.missing',
      file === undefined ? `There is no dploy.yml in ${directory} or above it` : `There is no file ${path}`,
      { where: directory },
    )
  }
  const text = readFileSync(path, 'utf8')
  return { config: readConfig(text, path), text, file: path, base: dirname(path) }
}

/** The environment that was named, or the only one there is. Throws `environment.unknown`, naming them. */
export function chooseEnvironment(project: Project, name: string | undefined): string {
  const names = Object.keys(project.config.environments)
  if (name === undefined) {
    if (names.length === 1) return names[0]!
    throw new DployError('environment.unknown', `Which environment? There are ${names.join(', ')}`, {
      where: project.file,
      fix: `Name it, for example: dploy deploy ${names[0]}`,
    })
  }
  if (!names.includes(name))
    throw new DployError(
      'environment.unknown',
      `dploy.yml names no environment ${name}; there are ${names.join(', ')}`,
      { where: project.file },
    )
  return name
}

function findUpwards(directory: string): string | null {
  for (let at = resolve(directory); ; at = dirname(at)) {
    for (const name of ['dploy.yml', 'dploy.yaml']) if (existsSync(join(at, name))) return join(at, name)
    if (dirname(at) === at) return null
  }
}
