import assert from 'node:assert/strict'
import { spawn, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { existsSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { before, after, describe, test } from 'node:test'
import { fileURLToPath } from 'node:url'
import { stripVTControlCharacters } from 'node:util'

const program = fileURLToPath(new URL('../../bin/dploy', import.meta.url))
const has = (name: string, ...args: string[]) => spawnSync(name, args, { stdio: 'ignore' }).error === undefined

interface Printed {
  code: number | null
  stdout: string
  stderr: string
}

describe('the command line', { timeout: 120_000 }, () => {
  let directory: string

  before(() => {
    directory = mkdtempSync(join(tmpdir(), 'dploy-cli-test-'))
    writeFileSync(
      join(directory, 'dploy.yml'),
      'application: shop\nenvironments:\n  production:\n    servers: [web1]\n  staging:\n    servers: [web2]\n',
    )
  })
  after(() => rmSync(directory, { recursive: true, force: true }))

  const dploy = (...args: string[]) => run(program, args, directory)

  test('the help of every command, and of those below it, has the options that all take', async () => {
    for (const args of [['deploy'], ['demo'], ['server', 'list'], ['secret', 'set']]) {
      const { code, stdout } = await dploy(...args, '--help')
      assert.equal(code, 0)
      for (const option of ['--config <file>', '--server <url>', '--ssh-config <file>'])
        assert.ok(stdout.includes(option), `dploy ${args.join(' ')} --help has no ${option}`)
    }
  })

  test('whatever is wrong, the last line of --json is a result of the same form', async () => {
    for (const [args, code] of [
      [['deploy', '--unknown', '--json'], 'request.invalid'],
      [['deploy', 'one', 'two', '--json'], 'request.invalid'],
      [['deploy', 'nowhere', '--json'], 'environment.unknown'],
      [['deploy', 'production', '--plan', '--directory', '.', '--json'], 'request.invalid'],
      [['plan', 'production', '--json', '--server', 'unix:/nowhere.sock'], 'connection.closed'],
      [['demo', '--json', '--balancer', 'none'], 'request.invalid'],
      [['deploy', 'production', '--json', '--config', 'none.yml'], 'config.missing'],
    ] as const) {
      const printed = await dploy(...args)
      assert.equal(printed.code, 1, args.join(' '))
      const result = JSON.parse(printed.stdout.trimEnd().split('\n').at(-1)!) as Record<string, unknown>
      assert.equal(result.type, 'result')
      assert.equal(result.state, 'failed')
      assert.equal(typeof result.seconds, 'number')
      assert.equal(result.receipt, null)
      assert.equal((result.failure as { code: string }).code, code, printed.stderr)
      assert.notEqual(printed.stderr, '')
    }
  })

  test('without --json an unknown option is told on standard error alone', async () => {
    const { code, stdout, stderr } = await dploy('deploy', '--unknown')
    assert.deepEqual([code, stdout], [1, ''])
    assert.match(stderr, /unknown option '--unknown'/)
  })

  test(
    'the completion for bash is sound, and knows commands, options and environments',
    { skip: has('bash', '--version') ? false : 'bash is not installed' },
    async () => {
      const { code, stdout } = await dploy('completion', 'bash')
      assert.equal(code, 0)
      const file = join(directory, 'completion.bash')
      writeFileSync(file, stdout)
      assert.deepEqual(await run('bash', ['-n', file], directory), { code: 0, stdout: '', stderr: '' })
      const words = async (...typed: string[]) => {
        const script =
          'source "$1"; shift; COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); _dploy; printf "%s\\n" "${COMPREPLY[@]}"'
        const printed = await run('bash', ['-c', script, 'bash', file, 'dploy', ...typed], directory)
        assert.equal(printed.stderr, '')
        return printed.stdout.trimEnd().split('\n')
      }
      assert.deepEqual(await words('deploy'), ['deploy', 'deployments'])
      assert.deepEqual(await words('deploy', ''), ['production', 'staging'])
      assert.deepEqual(await words('deploy', 'st'), ['staging'])
      assert.deepEqual(await words('deploy', '--re'), ['--revision'])
      assert.deepEqual(await words('rollback', '--re'), ['--release'])
      assert.deepEqual(await words('deploy', '--con'), ['--config'])
    },
  )
})

describe(
  'on a terminal',
  { timeout: 120_000, skip: has('script', '--version') ? false : 'script(1) is not installed' },
  () => {
    test('a narrow one: everything is drawn in its width, with colours', async () => {
      const shown = await onTerminal(44, {})
      const lines = linesOf(shown)
      assert.ok(
        lines.some((line) => line.startsWith('Deployment 1 · hello → demo')),
        shown,
      )
      assert.ok(
        lines.some((line) => line.startsWith('  ✓ web1')),
        shown,
      )
      for (const line of lines)
        if (/^(?:Deployment|resolve|traffic| {2}[✓▸•·✗] )/.test(line)) assert.ok([...line].length <= 44, line)
      assert.match(shown, /\u001b\[32m/)
      // Drawn over what was there, and the cursor is given back.
      assert.match(shown, /\u001b\[(?:1A|\d*G|2K|0?J)/)
      assert.ok(shown.lastIndexOf('\u001b[?25h') > shown.lastIndexOf('\u001b[?25l'), 'the cursor stays hidden')
    })

    test('a wide one with NO_COLOR: the same, without a colour', async () => {
      const shown = await onTerminal(140, { NO_COLOR: '1' })
      const lines = linesOf(shown)
      assert.ok(
        lines.some((line) => /resolve ✓ .* → build ✓ .* → activate/.test(line)),
        shown,
      )
      assert.match(shown, /\d+ requests seen/)
      // SGR (ECMA-48, 8.3.117) sets colours and weights.
      assert.doesNotMatch(shown, /\u001b\[[\d;]*m/)
    })
  },
)

/** `dploy demo --once` with two servers on a pseudo-terminal of so many columns. Answers what came to it. */
async function onTerminal(columns: number, env: Record<string, string>): Promise<string> {
  const directory = mkdtempSync(join(tmpdir(), 'dploy-terminal-test-'))
  try {
    const { NO_COLOR: _, FORCE_COLOR: __, ...own } = process.env
    const command = `stty cols ${columns} rows 40; exec "$DPLOY_PROGRAM" demo --once --servers 2 --balancer builtin`
    const printed = await run('script', ['--quiet', '--return', '--command', command, '/dev/null'], directory, {
      ...own,
      TERM: 'xterm-256color',
      TMPDIR: directory,
      DPLOY_PROGRAM: program,
      ...env,
    })
    assert.equal(printed.code, 0, printed.stdout)
    assert.ok(!existsSync(join(directory, 'hello')))
    return printed.stdout
  } finally {
    rmSync(directory, { recursive: true, force: true })
  }
}

function linesOf(shown: string): string[] {
  return stripVTControlCharacters(shown.replaceAll('\r', '')).split('\n')
}

async function run(
  file: string,
  args: readonly string[],
  cwd: string,
  env: NodeJS.ProcessEnv = process.env,
): Promise<Printed> {
  const child = spawn(file, args, {
    cwd,
    env: { ...env, DPLOY_URL: '' },
    stdio: ['ignore', 'pipe', 'pipe'],
    timeout: 100_000,
  })
  let [stdout, stderr] = ['', '']
  child.stdout.on('data', (chunk: Buffer) => (stdout += chunk.toString()))
  child.stderr.on('data', (chunk: Buffer) => (stderr += chunk.toString()))
  const [code] = (await once(child, 'close')) as [number | null]
  return { code, stdout, stderr }
}
