import { statSync, writeFileSync } from 'node:fs'
import { basename, join, resolve } from 'node:path'
import { DployError } from '../../protocol/errors.ts'
import { writeConfig } from './config-draft.ts'
import { placeSchema } from './editor-schema.ts'
import type { Proposal } from './proposal.ts'
import { recognise } from './recognise.ts'

/** What `dploy init` did. */
export interface InitResult {
  /** The file that was written. */
  file: string
  text: string
  proposal: Proposal
}

/**
 * Recognises what stands in a directory and writes a dploy.yml for it. Throws `config.exists` rather than touch one that
 * is there, and `request.invalid` when the directory cannot be used.
 */
export function initConfig(directory: string): InitResult {
  const place = resolve(directory)
  if (!statSync(place, { throwIfNoEntry: false })?.isDirectory()) {
    throw new DployError('request.invalid', `${place} is not a directory`, {
      where: place,
      fix: 'Run dploy init in the directory of the application',
    })
  }
  for (const name of ['dploy.yml', 'dploy.yaml']) {
    if (statSync(join(place, name), { throwIfNoEntry: false }) !== undefined) throw exists(join(place, name))
  }
  const proposal = recognise(place)
  const text = writeConfig(proposal)
  const file = join(place, 'dploy.yml')
  try {
    writeFileSync(file, text, { flag: 'wx' })
  } catch (cause) {
    const code = (cause as NodeJS.ErrnoException).code
    if (code === 'EEXIST') throw exists(file)
    throw new DployError('request.invalid', `${file} cannot be written: ${(cause as Error).message}`, {
      where: file,
      fix: 'Make the directory writable',
      cause,
    })
  }
  placeSchema(place)
  return { file, text, proposal }
}

function exists(file: string): DployError {
  return new DployError('config.exists', `${basename(file)} exists already; dploy init does not overwrite it`, {
    where: file,
  })
}
