import { spawn } from 'node:child_process'
import { existsSync } from 'node:fs'
import { writeFile } from 'node:fs/promises'
import { delimiter, join } from 'node:path'
import { DployError } from '../../protocol/errors.ts'
import { answers } from '../answers.ts'
import { workersOf } from './processes.ts'

export interface NginxFixture {
  /** Directory for its configuration, its pid and its error log. */
  directory: string
  /** `HOST:PORT` on which it takes requests. */
  bind: string
  upstream: string
  servers: readonly { name: string; address: string; port: number }[]
  /** Changes the text of nginx.conf. */
  configure?: (text: string) => string
}

/** An nginx of one's own, for tests, set up as production should be. */
export interface RunningNginx extends AsyncDisposable {
  url: string
  /** The file for balancer.upstream_file in dploy.yml. */
  upstreamFile: string
  /** Its main configuration file. */
  configFile: string
  pidFile: string
  errorLog: string
  /** The command line for balancer.test in dploy.yml. */
  test: string
  /** The command line for balancer.reload in dploy.yml. */
  reload: string
}

/** Where nginx is installed; null if it is not. */
export function nginxBinary(): string | null {
  const directories = [...(process.env.PATH ?? '').split(delimiter), '/usr/sbin', '/usr/local/sbin']
  return directories.map((directory) => join(directory, 'nginx')).find(existsSync) ?? null
}

/** Starts nginx and resolves when it takes connections. */
export async function startNginx(options: NginxFixture): Promise<RunningNginx> {
  const binary = nginxBinary()
  if (binary === null)
    throw new DployError('balancer.unreachable', 'nginx is not installed', { fix: 'On Debian: apt-get install nginx' })
  const file = (name: string) => join(options.directory, name)
  const text = nginxConfig(options, file)
  await writeFile(file('nginx.conf'), options.configure?.(text) ?? text)
  await writeFile(file('upstream.conf'), upstreamText(options))
  const where = ['-p', options.directory, '-e', file('error.log'), '-c', file('nginx.conf')]
  const child = spawn(binary, [...where, '-g', 'daemon off;'], { stdio: ['ignore', 'pipe', 'pipe'] })
  let said = ''
  for (const stream of [child.stdout, child.stderr])
    stream.on('data', (chunk: Buffer) => (said += chunk.toString('utf8')))
  const exited = new Promise<void>((resolve) => child.once('exit', () => resolve()))
  const dispose = async () => {
    // In this order no worker is left without a master that waits for it.
    const workers = await workersOf(child.pid!)
    child.kill('SIGTERM')
    await exited
    for (const { pid } of workers)
      while (existsSync(`/proc/${pid}`)) await new Promise((resolve) => setTimeout(resolve, 5))
  }
  const end = performance.now() + 10_000
  while (!(await answers(options.bind, undefined)).up || !existsSync(file('nginx.pid'))) {
    if (child.exitCode !== null || performance.now() > end) {
      if (child.exitCode === null) await dispose()
      throw new DployError('balancer.unreachable', `nginx did not start:\n${said.trim()}`)
    }
    await new Promise((resolve) => setTimeout(resolve, 10))
  }
  const command = [binary, ...where].map((word) => `'${word}'`).join(' ')
  return {
    url: `http://${options.bind}`,
    upstreamFile: file('upstream.conf'),
    configFile: file('nginx.conf'),
    pidFile: file('nginx.pid'),
    errorLog: file('error.log'),
    test: `${command} -T`,
    reload: `${command} -s reload`,
    [Symbol.asyncDispose]: dispose,
  }
}

/** The upstream as a person would write it, with connections to the servers that are kept. */
function upstreamText({ upstream, servers }: NginxFixture): string {
  const lines = servers.map(({ name, address, port }) => `  server ${address}:${port}; # ${name}`).join('\n')
  return `upstream ${upstream} {\n  # One list for all workers: without it each has its own turn.\n  zone ${upstream} 64k;\n${lines}\n  keepalive 8;\n}\n`
}

function nginxConfig({ bind, upstream }: NginxFixture, file: (name: string) => string): string {
  const temporary = ['client_body', 'proxy', 'fastcgi', 'uwsgi', 'scgi']
    .map((name) => `  ${name}_temp_path ${file(name)};`)
    .join('\n')
  return `pid ${file('nginx.pid')};
worker_processes 2;
# A connection that never ends does not keep an old worker for ever.
worker_shutdown_timeout 30s;

events {}

http {
  access_log off;
${temporary}
  include ${file('upstream.conf')};

  server {
    listen ${bind};
    location / {
      proxy_pass http://${upstream};
      proxy_http_version 1.1;
      proxy_set_header Connection "";
      proxy_connect_timeout 2s;
    }
  }
}
`
}
