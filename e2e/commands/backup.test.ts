import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import { after, before, describe, test } from 'node:test'
import { decodeManifest } from '../../src/protocol/manifest.ts'
import { program, Team } from './team.ts'

/** How many deployments are made while backups are taken. */
const deployments = 6

describe(
  'dploy backup and dploy restore',
  { skip: process.platform === 'linux' ? false : 'needs /proc', concurrency: 1, timeout: 180_000 },
  () => {
    let team: Team
    before(async () => {
      team = await Team.up({ servers: 1 })
      const config = JSON.parse(readFileSync(join(team.directory, 'dploy.yml'), 'utf8')) as Record<string, unknown>
      delete config['service']
      writeFileSync(join(team.directory, 'dploy.yml'), JSON.stringify({ ...config, release: { keep: 1 } }))
      mkdirSync(join(team.directory, 'site'))
    })
    after(async () => team?.[Symbol.asyncDispose]())

    test('each backup that is taken during deployments is restored to a state in which every release can be gone back to', async (context) => {
      const data = join(team.directory, '.dploy')
      let working = true
      const backups: string[] = []
      const backing = (async () => {
        while (working) {
          const file = join(team.directory, `${backups.length}.backup`)
          const { code, stderr } = await team.dploy('backup', file, '--data', data)
          assert.equal(code, 0, stderr)
          backups.push(file)
        }
      })()
      try {
        for (let number = 1; number <= deployments; number++) {
          writeFileSync(join(team.directory, 'site/index.html'), `version ${number}`)
          const { code, stdout, stderr } = await team.dploy('deploy', 'production', '--directory', 'site')
          assert.equal(code, 0, `${stdout.toString()}\n${stderr}`)
        }
      } finally {
        working = false
        await backing
      }
      assert.ok(backups.length >= 3, `${backups.length} backups`)
      const counts: number[] = []
      for (const [index, file] of backups.entries()) {
        const target = join(team.directory, `restored-${index}`)
        const { code, stderr } = await team.dploy('restore', file, '--data', target)
        assert.equal(code, 0, stderr)
        const database = new DatabaseSync(join(target, 'dploy.db'), { readOnly: true })
        const releases = database.prepare('select number, artifact from releases').all()
        database.close()
        counts.push(releases.length)
        for (const { number, artifact } of releases) {
          const path = join(target, 'manifests', artifact as string)
          assert.ok(existsSync(path), `the manifest of release ${number as number} in ${file}`)
          for (const entry of decodeManifest(readFileSync(path, 'utf8')).entries)
            if (entry.kind === 'file')
              assert.ok(existsSync(join(target, 'objects', entry.digest.slice(0, 2), entry.digest)))
        }
      }
      assert.deepEqual(
        counts,
        counts.toSorted((a, b) => a - b),
      )
      assert.ok(counts.at(-1)! >= deployments - 1)
      context.diagnostic(`${backups.length} backups with ${counts.join(', ')} releases`)
    })

    test('a list whose reader goes away ends without a word, and a deployment goes on', async () => {
      const piped = (reader: string, ...args: string[]) =>
        spawnSync(
          'bash',
          ['-c', `"$@" | ${reader}; echo "code \${PIPESTATUS[0]}"`, 'bash', process.execPath, program, ...args],
          {
            cwd: team.directory,
            env: team.environment,
            encoding: 'utf8',
            timeout: 60_000,
          },
        )
      const list = piped('true', 'deployments', 'production')
      assert.deepEqual([list.stderr, list.stdout], ['', 'code 141\n'])
      writeFileSync(join(team.directory, 'site/index.html'), 'the last version')
      const deploy = piped('head -1', 'deploy', 'production', '--directory', 'site')
      assert.equal(deploy.stderr, '')
      assert.match(deploy.stdout, /code 0\n$/)
      assert.equal(readFileSync(join(team.root('web1'), 'srv/shop/current/index.html'), 'utf8'), 'the last version')
    })

    test('data in use is not restored over, and says what to do', async () => {
      const file = join(team.directory, '0.backup')
      const used = await team.dploy('restore', file, '--data', join(team.directory, '.dploy'), '--force')
      assert.equal(used.code, 1)
      assert.match(used.stderr, /already serves[\s\S]*Stop it first/)
      const empty = await team.dploy('backup', join(team.directory, 'x'), '--data', join(team.directory, 'site'))
      assert.equal(empty.code, 1)
      assert.match(empty.stderr, /backup\.no_data/)
      assert.ok(!readdirSync(team.directory).includes('x'))
    })
  },
)
