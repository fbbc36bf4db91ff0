import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { createHash } from 'node:crypto'
import { once } from 'node:events'
import {
  chmodSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs'
import { createServer } from 'node:http'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Readable } from 'node:stream'
import { test, type TestContext } from 'node:test'
import { gzipSync } from 'node:zlib'
import { execFileSync } from 'node:child_process'
import { agentBundle } from './agent-bundle.ts'
import { placeScript } from './bootstrap-script.ts'
import { bootstrapCommand, readBootstrapLine } from './bootstrap.ts'
import { LineReader } from './line-reader.ts'
import { TarMember } from './tar-member.ts'

const supported = process.platform === 'linux' && (process.arch === 'x64' || process.arch === 'arm64')
const skip = supported ? false : 'the script is for Linux on x86-64 and arm64'
const digest = (content: string | Buffer) => createHash('sha256').update(content).digest('hex')
/** Stands for Node: says what it was started with. */
const runtime = '#!/bin/sh\necho "runs $*"\n'
const agent = 'the agent'

/** A home directory, and a PATH with the system's tools but without node, where `tools` can be left out. */
function makeHome(context: TestContext, without: string[] = []): { home: string; path: string } {
  const home = mkdtempSync(join(tmpdir(), 'dploy-bootstrap-'))
  context.after(() => rmSync(home, { recursive: true, force: true }))
  const path = join(home, 'bin')
  mkdirSync(path)
  for (const tool of [
    'sh',
    'uname',
    'mkdir',
    'getconf',
    'head',
    'gzip',
    'sha256sum',
    'chmod',
    'sync',
    'mv',
    'rm',
    'id',
    'find',
    'tar',
    'curl',
    'wget',
  ].filter((one) => !without.includes(one))) {
    const file = ['/usr/bin', '/bin']
      .map((directory) => join(directory, tool))
      .find((one) => {
        try {
          return readFileSync(one)
        } catch {
          return false
        }
      })
    if (file) symlinkSync(file, join(path, tool))
  }
  return { home, path }
}

function start({ home, path }: { home: string; path: string }) {
  const child = spawn(
    '/bin/sh',
    ['-c', placeScript, 'dploy', 'user', digest(agent), digest(runtime), digest(runtime), '24'],
    { env: { HOME: home, PATH: path }, stdio: ['pipe', 'pipe', 'inherit'] },
  )
  child.stdin.on('error', () => {})
  return { child, lines: new LineReader(child.stdout) }
}

const send = (content: string) => {
  const packed = gzipSync(content)
  return Buffer.concat([Buffer.from(`send ${packed.length}\n`), packed])
}

test('a bare server is sent runtime and agent, keeps them, and becomes the agent', { skip }, async (context) => {
  const home = makeHome(context, ['curl', 'wget'])
  const first = start(home)
  assert.match((await first.lines.next())!, /^dploy need runtime (x64|arm64) \d+\.\d+ none$/)
  first.child.stdin.write(send(runtime))
  assert.match((await first.lines.next())!, /^dploy need agent/)
  first.child.stdin.write(send(agent))
  assert.deepEqual(readBootstrapLine((await first.lines.next())!)?.kind, 'ready')
  assert.match(
    (await first.lines.next())!,
    /^runs .*\/agent\/[0-9a-f]{64}\.mjs stdio --state .*\/\.dploy --access user$/,
  )
  const second = start(home)
  assert.equal(readBootstrapLine((await second.lines.next())!)?.kind, 'ready')
})

test('what does not have its digest is thrown away', { skip }, async (context) => {
  const home = makeHome(context, ['curl', 'wget'])
  const { child, lines } = start(home)
  await lines.next()
  child.stdin.write('\0\0a first frame\n')
  child.stdin.write(send('something else'))
  assert.equal(await lines.next(), 'dploy wrong runtime')
  assert.equal(await lines.next(), null)
  const again = start(home)
  assert.match((await again.lines.next())!, /^dploy need runtime/)
  again.child.stdin.end()
})

test("a server's own Node is used if it is new enough", { skip }, async (context) => {
  const home = makeHome(context)
  const node = join(home.path, 'node')
  writeFileSync(node, '#!/bin/sh\nif [ "$1" = --version ]; then echo v24.1.0; else shift 4; echo "own $1"; fi\n')
  chmodSync(node, 0o755)
  const { child, lines } = start(home)
  assert.match((await lines.next())!, /^dploy need agent/)
  child.stdin.write(send(agent))
  assert.match((await lines.next())!, /^dploy ready/)
  assert.equal(await lines.next(), 'own stdio')
  writeFileSync(node, '#!/bin/sh\necho v20.19.2\n')
  const old = start(home)
  assert.match((await old.lines.next())!, /^dploy need runtime/)
  old.child.stdin.end()
})

for (const tool of ['curl', 'wget'] as const)
  test(
    `a server downloads the runtime itself by ${tool}, and takes none but the one that is known`,
    { skip: skip || (existsSync(`/usr/bin/${tool}`) ? false : `this machine has no ${tool}`) },
    async (context) => {
      const home = makeHome(context, [tool === 'curl' ? 'wget' : 'curl'])
      const directory = join(home.home, 'node-v24')
      mkdirSync(join(directory, 'bin'), { recursive: true })
      const archive = (content: string) => {
        writeFileSync(join(directory, 'bin/node'), content)
        return execFileSync('tar', ['-czf', '-', '-C', home.home, 'node-v24'])
      }
      let served = archive('another node')
      const server = createServer((_request, response) => response.end(served)).listen(0, '127.0.0.1')
      context.after(() => server.close())
      await once(server, 'listening')
      const address = `http://127.0.0.1:${(server.address() as { port: number }).port}/node.tar.gz`
      const { child, lines } = start(home)
      assert.match((await lines.next())!, new RegExp(`^dploy need runtime \\w+ \\S+ ${tool}$`))
      child.stdin.write(`fetch ${address}\n`)
      assert.equal(await lines.next(), 'dploy wrong runtime')
      assert.match((await lines.next())!, /^dploy need runtime/)
      served = archive(runtime)
      child.stdin.write(`fetch ${address}\n`)
      assert.match((await lines.next())!, /^dploy need agent/)
      child.stdin.end()
      // The same archive, read here for servers that cannot download.
      const parts = await Readable.from([execFileSync('gzip', ['-dc'], { input: served })])
        .pipe(new TarMember('bin/node'))
        .toArray()
      assert.equal(Buffer.concat(parts as Buffer[]).toString(), runtime)
    },
  )

test('the agent is one file of less than a megabyte', async () => {
  const { content } = await agentBundle()
  assert.ok(content.length > 50_000 && content.length < 1024 * 1024, `${content.length} bytes`)
})

test('what ssh is given needs no shell in particular', () => {
  const command = bootstrapCommand('0'.repeat(64))
  assert.equal(command.split("'").length % 2, 1)
  assert.ok(!command.includes('\\'))
  assert.equal(readBootstrapLine('Welcome to web1'), null)
})
