import { spawn } from 'node:child_process'
import { execFile } from 'node:child_process'
import { readdirSync } from 'node:fs'
import { writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { promisify } from 'node:util'
import type { Page } from 'playwright-core'
import { Client } from '../../src/client/client.ts'
import { signInWith } from './browser.ts'

const run = promisify(execFile)

/** A `dploy demo` that runs until it is disposed of: a control plane with pages, agents, a balancer and an application. */
export interface Demo extends AsyncDisposable {
  url: string
  token: string
  repository: string
  client: Client
  /** The file in which its control plane keeps everything. */
  database: string
  params: { application: string; environment: string }
  /** Commits a file in the application's repository. Answers the commit. */
  commit(file: string, text: string, message: string): Promise<string>
  /** `url`: the address under which the browser knows it. */
  signIn(page: Page, url?: string): Promise<void>
}

/** `own`: someone else's application, a git repository with its dploy.yml, in place of the sample. */
export async function startDemo(servers: number, own?: string): Promise<Demo> {
  const child = spawn(
    process.execPath,
    [
      join(import.meta.dirname, '../../src/cli/main.ts'),
      'demo',
      '--servers',
      String(servers),
      '--json',
      ...(own === undefined ? [] : ['--repository', own]),
    ],
    { stdio: ['ignore', 'pipe', 'pipe'], env: { ...process.env, DPLOY_URL: '' } },
  )
  let said = ''
  child.stderr.on('data', (data: Buffer) => (said += data.toString()))
  const ended = new Promise<void>((resolve) => child.once('exit', () => resolve()))
  const running = new Promise<{ control: string; token: string; repository: string }>((resolve, reject) => {
    createInterface({ input: child.stdout }).on('line', (line) => {
      said += `${line.slice(0, 300)}\n`
      if (!line.startsWith('{')) return
      const value = JSON.parse(line) as { type: string; control: string; token: string; repository: string }
      if (value.type === 'running') resolve(value)
    })
    void ended.then(() => reject(new Error(`dploy demo ended before it ran:\n${said.slice(-3_000)}`)))
  })
  const timer = setTimeout(() => child.kill('SIGTERM'), 90_000)
  const { control, token, repository } = await running.finally(() => clearTimeout(timer))
  const git = async (...args: string[]) =>
    (
      await run('git', [
        '-C',
        repository,
        '-c',
        'user.name=Anna',
        '-c',
        'user.email=anna@localhost',
        '-c',
        'commit.gpgsign=false',
        '-c',
        'core.hooksPath=/dev/null',
        ...args,
      ])
    ).stdout.trim()
  return {
    url: control,
    token,
    repository,
    client: new Client({ url: control, token, fetch }),
    database: join(
      tmpdir(),
      readdirSync(tmpdir()).find((name) => name.startsWith(`dploy-demo-${child.pid}-`))!,
      'control/dploy.db',
    ),
    params: { application: 'hello', environment: 'demo' },
    async commit(file, text, message) {
      await writeFile(join(repository, file), text)
      await git('add', '--all')
      await git('commit', '--quiet', '--message', message)
      return git('rev-parse', 'HEAD')
    },
    signIn: (page, url = control) => signInWith(page, url, token),
    async [Symbol.asyncDispose]() {
      child.kill('SIGTERM')
      const hard = setTimeout(() => child.kill('SIGKILL'), 20_000)
      await ended
      clearTimeout(hard)
    },
  }
}
