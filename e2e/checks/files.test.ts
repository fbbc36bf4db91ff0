import assert from 'node:assert/strict'
import { globSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'node:test'

const top = join(import.meta.dirname, '../..')

test('no command line is put together for a shell', () => {
  for (const file of globSync('{src,e2e,bench}/**/*.{ts,tsx,mjs}', { cwd: top })) {
    if (file === 'e2e/checks/files.test.ts') continue
    const text = readFileSync(join(top, file), 'utf8')
    assert.ok(
      !/shell:\s*true/.test(text),
      `${file} runs a command through a shell; give spawn a file and its arguments`,
    )
    assert.ok(
      !/import\s*\{[^}]*\bexec(?:Sync)?\b[^}]*\}\s*from\s*'(?:node:)?child_process'/.test(text),
      `${file} imports exec; use spawn or execFile`,
    )
  }
})

test('a file of src has at most 500 lines', () => {
  for (const file of globSync('src/**/*.{ts,tsx}', { cwd: top })) {
    if (file.endsWith('.test.ts')) continue
    const lines = readFileSync(join(top, file), 'utf8').split('\n').length
    assert.ok(lines <= 501, `${file} has ${lines} lines: split it by its nouns`)
  }
})

test('the lock file names every optional package that one of its packages wants', () => {
  // `npm ci` refuses a lock file from which a platform's package is missing, as npm leaves it when the registry lacks that version.
  const lock = JSON.parse(readFileSync(join(top, 'package-lock.json'), 'utf8')) as {
    packages: Record<string, { optionalDependencies?: Record<string, string> }>
  }
  for (const [path, entry] of Object.entries(lock.packages)) {
    for (const name of Object.keys(entry.optionalDependencies ?? {})) {
      const found = `${path}/node_modules/${name}` in lock.packages || `node_modules/${name}` in lock.packages
      assert.ok(
        found,
        `${path || 'package.json'} wants ${name}, which package-lock.json does not have: choose a version of which every platform's package is published`,
      )
    }
  }
})
