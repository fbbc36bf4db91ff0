import { execFile } from 'node:child_process'
import { mkdir, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { promisify } from 'node:util'

const run = promisify(execFile)

/** The demo's application: a small HTTP server in Node, without dependencies, in a git repository of its own. */
const serverFile = `import http from 'node:http'
import { readFileSync } from 'node:fs'

const greeting = readFileSync(new URL('greeting.txt', import.meta.url), 'utf8').trim()

const server = http.createServer((request, response) => {
  if (request.url === '/healthz') return response.end('ok\\n')
  response.setHeader('content-type', 'text/plain; charset=utf-8')
  response.end(\`\${greeting} (from \${process.env.DPLOY_SERVER}, release \${process.env.DPLOY_RELEASE})\\n\`)
})

// Longer than the balancer keeps its connections, so that none closes under a request.
server.keepAliveTimeout = 65_000

server.listen(process.env.PORT, () => console.log(\`\${greeting} on port \${process.env.PORT}\`))

process.on('SIGTERM', () => server.close(() => process.exit(0)))
`

const configFile = `# The application of dploy demo.
application: hello

service:
  command: node server.js
  port: 3000
  health: /healthz

environments:
  demo:
    branch: main
    strategy:
      kind: rolling
      batch: 25%
      bake: 2s
`

/** Makes the repository with its first revision. Answers its path. */
export async function makeSample(directory: string): Promise<string> {
  const repository = join(directory, 'hello')
  await mkdir(repository, { recursive: true })
  await git(repository, 'init', '--quiet', '--initial-branch=main')
  await writeFile(join(repository, 'package.json'), '{ "name": "hello", "type": "module", "private": true }\n')
  await writeFile(join(repository, 'server.js'), serverFile)
  await writeFile(join(repository, 'dploy.yml'), configFile)
  await commitGreeting(repository, 'Hello from the first revision', 'Say hello')
  return repository
}

/** Commits the next revision: one changed line. */
export async function commitGreeting(repository: string, greeting: string, message: string): Promise<void> {
  await writeFile(join(repository, 'greeting.txt'), `${greeting}\n`)
  await git(repository, 'add', '--all')
  await git(
    repository,
    '-c',
    'user.name=dploy demo',
    '-c',
    'user.email=demo@localhost',
    '-c',
    'commit.gpgsign=false',
    'commit',
    '--quiet',
    '--message',
    message,
  )
}

/** The commits to deploy of somebody's repository: the one before its newest, so that the second deployment changes something, and that. One, where there is no other. */
export async function lastCommits(repository: string): Promise<string[]> {
  const { stdout } = await run('git', ['-C', repository, 'rev-list', '--first-parent', '--max-count=2', 'HEAD'], {
    env: { ...process.env, GIT_CONFIG_GLOBAL: '/dev/null', GIT_CONFIG_SYSTEM: '/dev/null' },
  })
  return stdout.trim().split('\n').reverse()
}

/** Whether a directory is the work tree of a git repository with a commit. */
export async function hasCommit(repository: string): Promise<boolean> {
  try {
    await git(repository, 'rev-parse', '--verify', '--quiet', 'HEAD^{commit}')
    return true
  } catch {
    return false
  }
}

async function git(directory: string, ...args: string[]): Promise<void> {
  await run('git', ['-C', directory, '-c', 'core.hooksPath=/dev/null', ...args], {
    env: { ...process.env, GIT_CONFIG_GLOBAL: '/dev/null', GIT_CONFIG_SYSTEM: '/dev/null' },
  })
}
