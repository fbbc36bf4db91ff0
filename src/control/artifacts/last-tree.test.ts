import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import { chmodSync, mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import { readConfig } from '../../protocol/config/text.ts'
import { Artifacts } from './artifacts.ts'

test('an artifact made of the changes since the last one is the same as one made of the whole tree', async (context) => {
  const top = mkdtempSync(join(tmpdir(), 'dploy-last-tree-'))
  context.after(() => rmSync(top, { recursive: true, force: true }))
  const repository = join(top, 'shop')
  const git = (...args: string[]) =>
    execFileSync('git', ['-C', repository, '-c', 'user.name=Anna', '-c', 'user.email=anna@example.org', ...args], {
      encoding: 'utf8',
    })
  mkdirSync(repository)
  execFileSync('git', ['init', '--quiet', '--initial-branch=main', repository])
  const signal = AbortSignal.timeout(60_000)
  const config = readConfig(
    JSON.stringify({
      application: 'shop',
      source: repository,
      build: { leave_out: ['*.log'] },
      environments: { production: { servers: ['web1'] } },
    }),
  )
  using going = new Artifacts(join(top, 'going'))

  const steps: [string, () => void, number][] = [
    [
      'the beginning',
      () => {
        mkdirSync(join(repository, 'a/b'), { recursive: true })
        for (let index = 0; index < 50; index++) writeFileSync(join(repository, `a/b/${index}`), `${index}\n`)
        writeFileSync(join(repository, 'x.log'), 'x')
      },
      50,
    ],
    [
      'a changed file, a new one, one left out',
      () => {
        writeFileSync(join(repository, 'a/b/7'), 'seven\n')
        writeFileSync(join(repository, 'a/new\n"name'), 'new\n')
        writeFileSync(join(repository, 'y.log'), 'y')
      },
      2,
    ],
    [
      'a mode, a link, a removal',
      () => {
        chmodSync(join(repository, 'a/b/8'), 0o755)
        symlinkSync('b/9', join(repository, 'a/link'))
        rmSync(join(repository, 'a/b/10'))
      },
      0,
    ],
    [
      'a file that becomes a folder, a folder that becomes a file',
      () => {
        rmSync(join(repository, 'a/b/11'))
        mkdirSync(join(repository, 'a/b/11'))
        writeFileSync(join(repository, 'a/b/11/inside'), 'i\n')
        rmSync(join(repository, 'a/b/11/inside'))
        writeFileSync(join(repository, 'a/b/11/other'), 'o\n')
      },
      1,
    ],
    [
      'and back',
      () => {
        rmSync(join(repository, 'a/b/11'), { recursive: true })
        writeFileSync(join(repository, 'a/b/11'), 'again\n')
      },
      1,
    ],
  ]
  for (const [name, change, read] of steps) {
    change()
    git('add', '--all')
    git('commit', '--quiet', '--message', name)
    const revision = await going.resolve(config, null, null, null, signal)
    const built = await going.build(config, null, revision, { signal, onOutput: () => {} })
    using anew = new Artifacts(join(top, `anew ${name}`))
    await anew.resolve(config, null, null, null, signal)
    const whole = await anew.build(config, null, revision, { signal, onOutput: () => {} })
    assert.equal(built.artifact, whole.artifact, name)
    assert.equal(built.read, read, `${name}: files read`)
    assert.ok(await going.has(built.artifact))
  }
})
