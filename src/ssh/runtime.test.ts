import assert from 'node:assert/strict'
import { createReadStream, mkdtempSync, readdirSync, rmSync } from 'node:fs'
import { createHash } from 'node:crypto'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import { pipeline } from 'node:stream/promises'
import { createGunzip } from 'node:zlib'
import { compressedRuntime, runtimes, type Architecture } from './runtime.ts'

const supported = process.platform === 'linux' && (process.arch === 'x64' || process.arch === 'arm64')

test(
  'with an empty cache several servers get the runtime that was made once',
  { skip: supported ? false : 'the packages have Node for Linux on x86-64 and arm64' },
  async (context) => {
    const cache = mkdtempSync(join(tmpdir(), 'dploy-cache-'))
    const before = process.env['XDG_CACHE_HOME']
    process.env['XDG_CACHE_HOME'] = cache
    context.after(() => {
      if (before === undefined) delete process.env['XDG_CACHE_HOME']
      else process.env['XDG_CACHE_HOME'] = before
      rmSync(cache, { recursive: true, force: true })
    })
    const arch = process.arch as Architecture
    // None of them may download: Node is in the packages.
    const options = { template: 'none', signal: AbortSignal.timeout(120_000) }
    const all = await Promise.all([1, 2, 3, 4].map(() => compressedRuntime(arch, options)))
    assert.equal(new Set(all.map(({ path }) => path)).size, 1)
    assert.deepEqual(readdirSync(join(cache, 'dploy')).length, 1, 'nothing unfinished is left')
    const hash = createHash('sha256')
    await pipeline(createReadStream(all[0]!.path), createGunzip(), hash)
    assert.equal(hash.digest('hex'), runtimes[arch].sha256)
  },
)
