import assert from 'node:assert/strict'
import { spawn, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { mkdirSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { createServer, type AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { test, type TestContext } from 'node:test'
import { setTimeout as delay } from 'node:timers/promises'
import { readConfig } from '../../protocol/config/text.ts'
import { DployError } from '../../protocol/errors.ts'
import { initConfig } from './init.ts'

test('writes dploy.yml where there is none', (t) => {
  const directory = temporary(t, { 'index.html': '<h1>hello</h1>' })
  const { file, text } = initConfig(directory)
  assert.equal(file, join(directory, 'dploy.yml'))
  assert.equal(readFileSync(file, 'utf8'), text)
  assert.equal(readConfig(text).service?.port, 8080)
})

for (const name of ['dploy.yml', 'dploy.yaml']) {
  test(`does not touch a ${name} that is there`, (t) => {
    const directory = temporary(t, { [name]: 'mine', 'index.html': '' })
    assert.throws(
      () => initConfig(directory),
      (error) =>
        error instanceof DployError &&
        error.code === 'config.exists' &&
        error.where === join(directory, name) &&
        error.fix.includes('dploy init'),
    )
    assert.equal(readFileSync(join(directory, name), 'utf8'), 'mine')
  })
}

test('does not write through a link that leads elsewhere', (t) => {
  const directory = temporary(t, { 'app/index.html': '' })
  symlinkSync('../elsewhere.yml', join(directory, 'app/dploy.yml'))
  assert.throws(() => initConfig(join(directory, 'app')), { code: 'config.exists' })
  assert.throws(() => readFileSync(join(directory, 'elsewhere.yml')), { code: 'ENOENT' })
})

test('says what is wrong with a directory that is none', (t) => {
  const directory = temporary(t, { file: '' })
  assert.throws(() => initConfig(join(directory, 'file')), { code: 'request.invalid' })
  assert.throws(() => initConfig(join(directory, 'nowhere')), { code: 'request.invalid' })
})

const applications: Record<string, Record<string, string>> = {
  'a static site': { 'index.html': '<h1>hello</h1>' },
  "a Python application on the standard library's server": {
    'server.py': `import os
from http.server import BaseHTTPRequestHandler, HTTPServer

class Hello(BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.end_headers()
        self.wfile.write(b'<h1>hello</h1>')

if __name__ == '__main__':
    HTTPServer(('127.0.0.1', int(os.environ.get('PORT', '8000'))), Hello).serve_forever()
`,
  },
  'a Node application without packages': {
    'package.json': '{"name":"hello","scripts":{"start":"node index.js"}}',
    'index.js':
      "require('node:http').createServer((_, answer) => answer.end('<h1>hello</h1>')).listen(process.env.PORT, '127.0.0.1')",
  },
}

for (const [name, files] of Object.entries(applications)) {
  test(`the proposed command serves ${name}`, { timeout: 30_000 }, async (t) => {
    const directory = temporary(t, files)
    const { service } = readConfig(initConfig(directory).text)
    assert.ok(service?.command)
    if (service.command.startsWith('python3') && spawnSync('python3', ['--version']).error !== undefined)
      return t.skip('python3 is not installed here')
    const port = await freePort()
    const child = spawn('sh', ['-c', service.command], {
      cwd: directory,
      env: { PATH: `${dirname(process.execPath)}:${process.env['PATH']}`, PORT: String(port) },
      stdio: 'ignore',
      detached: true,
    })
    t.after(async () => {
      const gone = once(child, 'exit')
      if (child.exitCode !== null || child.signalCode !== null) return
      process.kill(-child.pid!, 'SIGKILL')
      await gone
    })
    const answer = await firstAnswer(`http://127.0.0.1:${port}${service.health.path}`, t.signal)
    assert.equal(answer.status, 200)
    assert.match(await answer.text(), /hello/)
  })
}

/** A server that starts tells nobody; asking until it answers is what a health check does too. */
async function firstAnswer(url: string, signal: AbortSignal): Promise<Response> {
  for (;;) {
    try {
      return await fetch(url, { signal })
    } catch (error) {
      if (signal.aborted) throw error
      await delay(20, undefined, { signal })
    }
  }
}

async function freePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1')
  await once(server, 'listening')
  const { port } = server.address() as AddressInfo
  server.close()
  await once(server, 'close')
  return port
}

function temporary(t: TestContext, files: Record<string, string>): string {
  const directory = mkdtempSync(join(tmpdir(), 'dploy-init-'))
  t.after(() => rmSync(directory, { recursive: true, force: true }))
  for (const [path, content] of Object.entries(files)) {
    mkdirSync(dirname(join(directory, path)), { recursive: true })
    writeFileSync(join(directory, path), content)
  }
  return directory
}
