import assert from 'node:assert/strict'
import { chmodSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, describe, test } from 'node:test'
import { Ssh } from './ssh.ts'

/** What stands where ssh does, and does this on the server once it is in. */
const shells = {
  'says nothing': ['exec sleep 60', /^web1\.example says nothing for 0\.3 s: /],
  'prints lines without end': ['exec yes hello', /^web1\.example prints without end: /],
  'prints one line without end': ['exec cat /dev/zero', /^web1\.example prints without end: /],
} as const

describe('a server that lets ssh in, and whose shell', { timeout: 30_000 }, () => {
  let directory: string
  const path = process.env.PATH
  before(() => {
    directory = mkdtempSync(join(tmpdir(), 'dploy-greeting-'))
    process.env.PATH = `${directory}:${path}`
  })
  after(() => {
    process.env.PATH = path
    rmSync(directory, { recursive: true, force: true })
  })

  for (const [what, [shell, message]] of Object.entries(shells)) {
    test(`${what} is told as that, and not waited for`, async () => {
      writeFileSync(
        join(directory, 'ssh'),
        `#!/bin/sh\ncase " $* " in *" -G "*) printf 'user deploy\\nhostname web1.example\\nport 22\\n'; exit 0;; esac\n${shell}\n`,
      )
      chmodSync(join(directory, 'ssh'), 0o755)
      await using ssh = new Ssh({ silence: what === 'says nothing' ? 300 : 20_000 })
      const before = process.memoryUsage().arrayBuffers
      const { agent } = ssh.connect({ name: 'web1', address: 'deploy@web1.example' }, AbortSignal.timeout(20_000))
      await assert.rejects(agent, {
        code: 'ssh.failed',
        message,
        where: 'web1',
        fix: 'Try by hand: ssh deploy@web1.example true',
      })
      assert.ok(process.memoryUsage().arrayBuffers - before < 50 * 1024 * 1024)
    })
  }
})
