import type { KeyObject } from 'node:crypto'
import { closeSync, fsyncSync, linkSync, mkdirSync, openSync, readFileSync, rmSync, writeSync } from 'node:fs'
import { join } from 'node:path'
import { newKeyPair, publicKeyOf, readPrivateKey } from '../protocol/signature.ts'

/** The key with which a control plane signs its commands; made at the first start, readable by its user alone. */
export function controlKey(dataDirectory: string): { privateKey: KeyObject; publicKey: string } {
  mkdirSync(dataDirectory, { recursive: true, mode: 0o700 })
  const path = join(dataDirectory, 'control-key.pem')
  let pem = read(path)
  if (pem === null) {
    const temporary = `${path}.${process.pid}`
    const file = openSync(temporary, 'w', 0o600)
    writeSync(file, newKeyPair().privateKey)
    fsyncSync(file)
    closeSync(file)
    try {
      // A link fails if another process made the key meanwhile: then that one counts.
      linkSync(temporary, path)
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw error
    } finally {
      rmSync(temporary)
    }
    pem = readFileSync(path, 'utf8')
  }
  const privateKey = readPrivateKey(pem)
  return { privateKey, publicKey: publicKeyOf(privateKey) }
}

function read(path: string): string | null {
  try {
    return readFileSync(path, 'utf8')
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return null
    throw error
  }
}
