import assert from 'node:assert/strict'
import { once } from 'node:events'
import { existsSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { createServer as createHttp } from 'node:http'
import { createServer, type Server, type AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import { diagnose } from './diagnose.ts'
import { announcedIn, measureKeepAlive } from './keep-alive.ts'
import { listening, portOwner } from './port-owner.ts'

const signal = new AbortController().signal

async function listen(server: Server): Promise<AsyncDisposable & { port: number }> {
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  return {
    port: (server.address() as AddressInfo).port,
    [Symbol.asyncDispose]: async () => void (await new Promise((resolve) => server.close(resolve))),
  }
}

test('asking makes nothing, and finds the nearest directory that is there', async () => {
  const root = mkdtempSync(join(tmpdir(), 'dploy-diagnose-'))
  try {
    const params = {
      application: 'shop',
      environment: 'production',
      directory: '/srv/shop',
      ports: [],
      ask: null,
      patience: 0,
    }
    const found = await diagnose({ params, root, stateDirectory: root, service: null, signal })
    assert.equal(found.directory.path, join(root, 'srv/shop'))
    assert.equal(found.directory.nearest, root)
    assert.equal(found.directory.problem, null)
    assert.equal(found.current, null)
    assert.ok(!existsSync(join(root, 'srv')))
    assert.ok(found.disks.every((disk) => disk.freeBytes > 0 && disk.totalBytes >= disk.freeBytes))
    assert.match(found.platform, /^linux-/)
    mkdirSync(join(root, 'srv'))
    writeFileSync(join(root, 'srv/shop'), '')
    assert.equal(
      (await diagnose({ params, root, stateDirectory: root, service: null, signal })).directory.problem,
      'ENOTDIR',
    )
  } finally {
    rmSync(root, { recursive: true, force: true })
  }
})

const stranger = { directory: '/nowhere', pids: [], unit: 'dploy-nothing-here', keeperDirectory: '/nowhere' }

test('knows who listens on a port, and whether it is ours', async () => {
  await using server = await listen(createServer())
  const other = portOwner(server.port, stranger)
  assert.equal(other?.pid, process.pid)
  assert.equal(other?.ours, false)
  assert.match(other!.command, /node/)
  assert.equal(portOwner(server.port, { ...stranger, directory: process.cwd() })?.ours, true)
  assert.equal(
    portOwner(server.port, { ...stranger, pids: [process.ppid] })?.ours,
    true,
    'what the service started is the service',
  )
  assert.equal(portOwner(1, stranger), null)
})

test('only sockets that listen count', () => {
  const table = `  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode
   0: 0100007F:0BB8 00000000:0000 0A 00000000:00000000 00:00000000 00000000    33        0 4711 1
   1: 0100007F:0BB8 0100007F:D2A4 01 00000000:00000000 00:00000000 00000000    33        0 4712 1`
  assert.deepEqual(listening(table, 3000), [{ uid: 33, inode: '4711' }])
  assert.deepEqual(listening(table, 3001), [])
})

test('measures how long an idle connection is kept', async () => {
  // Says nothing of it, as gunicorn does, and closes after 300 ms.
  const silent = createServer((socket) => {
    socket.on('error', () => {})
    socket.once('data', () => {
      socket.write('HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok')
      setTimeout(() => socket.end(), 300)
    })
  })
  await using server = await listen(silent)
  const found = await measureKeepAlive({ port: server.port, path: '/', host: null, patience: 10_000, signal })
  assert.equal(found?.announced, false)
  assert.ok(found!.ms! >= 250 && found!.ms! < 5_000, String(found!.ms))
  const patient = await measureKeepAlive({ port: server.port, path: '/', host: null, patience: 100, signal })
  assert.equal(patient?.ms, null, 'longer than it was watched')
})

test('believes what Node announces', async () => {
  const http = createHttp({ keepAliveTimeout: 5_000 }, (_request, response) => response.end('ok'))
  await using server = await listen(http)
  assert.deepEqual(await measureKeepAlive({ port: server.port, path: '/', host: null, patience: 10_000, signal }), {
    port: server.port,
    ms: 5_000,
    announced: true,
  })
  http.closeAllConnections()
})

test('reads the head of an answer', () => {
  assert.equal(announcedIn('HTTP/1.1 200 OK\r\nKeep-Alive: timeout=75, max=100\r\n\r\n'), 75_000)
  assert.equal(announcedIn('HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n'), 'closes')
  assert.equal(announcedIn('HTTP/1.0 200 OK\r\n\r\n'), 'closes')
  assert.equal(announcedIn('HTTP/1.1 200 OK\r\n\r\n'), null)
})
