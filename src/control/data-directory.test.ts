import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import { mkdtempSync, rmSync, statSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import { startControlPlane } from './control-plane.ts'

test("a control plane's data in a repository is not for git, nor for other users", async (context) => {
  const repository = mkdtempSync(join(tmpdir(), 'dploy-data-'))
  context.after(() => rmSync(repository, { recursive: true, force: true }))
  execFileSync('git', ['init', '--quiet', repository])
  await using plane = await startControlPlane({ data: join(repository, 'deep/.dploy') })
  assert.equal(plane.url, null)
  assert.equal(statSync(join(repository, 'deep/.dploy')).mode & 0o777, 0o700)
  assert.equal(execFileSync('git', ['-C', repository, 'status', '--porcelain'], { encoding: 'utf8' }), '')
})
