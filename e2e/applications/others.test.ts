// Needs the machine to itself.
import assert from 'node:assert/strict'
import { execFile, spawn } from 'node:child_process'
import { once } from 'node:events'
import { cpSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { describe, test, type TestContext } from 'node:test'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'

const run = promisify(execFile)
const program = fileURLToPath(new URL('../../src/cli/main.ts', import.meta.url))

/** Applications that nobody here wrote, as they are: what dploy has to know of them stands in a dploy.yml beside them. */
describe("other people's applications, through dploy demo --repository", () => {
  test('an Express application, as express-generator makes it', async (context) => {
    const directory = scratch(context)
    const made = await run(
      'npm',
      [
        'exec',
        '--yes',
        '--package=express-generator@4.16.1',
        '--',
        'express',
        '--no-view',
        '--git',
        join(directory, 'express'),
      ],
      { timeout: 120_000 },
    ).catch((error: unknown) => error as Error & { stderr?: string })
    if (made instanceof Error)
      return context.skip(
        `npm has no express-generator here: ${(made.stderr ?? made.message).trim().split('\n').at(-1)}`,
      )
    await run('npm', ['install', '--package-lock-only', '--ignore-scripts', '--no-audit', '--no-fund'], {
      cwd: join(directory, 'express'),
      timeout: 120_000,
    })
    await deployTwice(context, directory, 'express', {
      build: { command: 'npm ci --omit=dev --no-audit --no-fund' },
      service: { command: `${process.execPath} bin/www`, port: 3000, health: '/' },
      variables: { NODE_ENV: 'production' },
    })
  })

  test('a static site, HTML5 Boilerplate', async (context) => {
    const directory = scratch(context)
    const packed = await run('npm', ['pack', '--pack-destination', directory, 'html5-boilerplate@9.0.1'], {
      timeout: 120_000,
    }).catch((error: unknown) => error as Error & { stderr?: string })
    if (packed instanceof Error)
      return context.skip(
        `npm has no html5-boilerplate here: ${(packed.stderr ?? packed.message).trim().split('\n').at(-1)}`,
      )
    await run('tar', ['--extract', '--file', join(directory, 'html5-boilerplate-9.0.1.tgz'), '--directory', directory])
    await deployTwice(context, directory, 'package/dist', {
      service: { command: 'python3 -m http.server "$PORT"', port: 8080, health: '/index.html' },
    })
  })

  test("a Python application on the standard library's HTTP server, Python's own", async (context) => {
    const directory = scratch(context)
    const library = (await run('python3', ['-c', 'import http.server; print(http.server.__file__)'])).stdout.trim()
    mkdirSync(join(directory, 'python'))
    cpSync(library, join(directory, 'python/server.py'))
    await deployTwice(context, directory, 'python', {
      service: { command: 'python3 server.py --bind 127.0.0.1 "$PORT"', port: 8000, health: '/' },
    })
  })
})

function scratch(context: TestContext): string {
  const directory = mkdtempSync(join(tmpdir(), 'dploy-others-'))
  context.after(() => rmSync(directory, { recursive: true, force: true }))
  return directory
}

async function deployTwice(
  context: TestContext,
  directory: string,
  folder: string,
  config: Record<string, unknown>,
): Promise<void> {
  const repository = join(directory, folder)
  const git = (...args: string[]) =>
    run('git', ['-C', repository, '-c', 'user.name=Anna', '-c', 'user.email=anna@example.org', ...args])
  await git('init', '--quiet', '--initial-branch=main')
  await git('add', '--all')
  await git('commit', '--quiet', '--message', 'As it is')
  const file = join(directory, 'dploy.yml')
  writeFileSync(
    file,
    JSON.stringify({
      application: 'theirs',
      ...config,
      environments: { production: { servers: ['web1'], strategy: { bake: '1s' } } },
    }),
  )
  const child = spawn(
    process.execPath,
    [program, 'demo', '--once', '--json', '--repository', repository, '--config', file],
    { cwd: directory, stdio: ['ignore', 'pipe', 'pipe'], timeout: 120_000, killSignal: 'SIGTERM' },
  )
  let stderr = ''
  child.stderr.on('data', (chunk: Buffer) => (stderr += chunk.toString()))
  const results: {
    state: string
    failure: unknown
    receipt: { servers: { outcome: string }[]; traffic: { seen: number; failed: number } }
  }[] = []
  let users: { sent: number; failed: number } | undefined
  createInterface({ input: child.stdout }).on('line', (line) => {
    const value = JSON.parse(line) as { type: string }
    if (value.type === 'result') results.push(value as never)
    if (value.type === 'users') users = value as never
  })
  const [code] = (await once(child, 'close')) as [number | null]
  assert.deepEqual(
    results.map(({ state, failure }) => ({ state, failure })),
    [
      { state: 'succeeded', failure: null },
      { state: 'succeeded', failure: null },
    ],
    stderr,
  )
  assert.equal(code, 0, stderr)
  for (const { receipt } of results)
    assert.deepEqual(
      receipt.servers.map(({ outcome }) => outcome),
      ['switched', 'switched', 'switched', 'switched'],
    )
  const { traffic } = results[1]!.receipt
  assert.equal(traffic.failed, 0)
  assert.ok(traffic.seen >= 100, `${traffic.seen} requests were seen`)
  assert.equal(users?.failed, 0)
  context.diagnostic(`second deployment: ${traffic.seen} requests seen, 0 failed; users sent ${users!.sent}`)
}
