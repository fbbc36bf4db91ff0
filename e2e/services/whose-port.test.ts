import assert from 'node:assert/strict'
import { after, before, describe, test } from 'node:test'
import { unavailable } from '../fleet/fleet.ts'
import { World } from '../world.ts'

const missing = unavailable()

/** Tries again where its port is taken, as gunicorn does, and so does not end. */
const patient = `
import http from 'node:http'
const server = http.createServer((_, response) => response.end('release ' + process.env.DPLOY_RELEASE))
const listen = () => server.listen(Number(process.env.PORT))
server.on('error', () => setTimeout(listen, 100))
listen()
`
const squatter = (unit: string, port: number) => [
  `--unit=${unit}`,
  '--property=Restart=no',
  '/opt/dploy/node',
  '-e',
  `require('http').createServer((_,r)=>r.end('stranger')).listen(${port})`,
]

describe('whose port, whose answer', { skip: missing === null ? false : missing, timeout: 180_000 }, () => {
  let world: World
  const configure = (service: Record<string, unknown> = {}, extra: Record<string, unknown> = {}) =>
    world.configure({
      service: { health: { timeout: '3s' }, ...service },
      extra,
      strategy: { bake: '0s' },
      environment: { balancer: undefined, probe: undefined },
    })
  const exec = async (file: string, ...args: string[]) => {
    const { stdout } = await world.servers[0]!.exec(file, args)
    return stdout.trim()
  }
  const unit = 'dploy-shop-production.service'
  const answer = (port: number) =>
    exec(
      '/opt/dploy/node',
      '-e',
      `fetch('http://127.0.0.1:${port}').then(async r=>console.log(await r.text()),()=>console.log('nobody'))`,
    )

  before(async () => {
    world = await World.up({ servers: 1, ssh: 'root' })
    await world.commit({ 'server.mjs': patient }, 'Patient')
    await configure()
    assert.equal((await world.dploy('deploy', 'production')).result.state, 'succeeded')
  })
  after(async () => {
    await world?.[Symbol.asyncDispose]()
  })

  test('a port that another program holds is refused before anything is stopped, with its process and unit', async () => {
    await exec('systemd-run', ...squatter('squatter', 4100))
    const running = await exec('systemctl', 'show', '--property=MainPID', unit)
    await configure({ port: 4100 })
    const { result } = await world.dploy('deploy', 'production')
    assert.equal(result.state, 'failed')
    assert.equal(result.failure!.code, 'server.port_taken')
    assert.match(result.failure!.message, /Port 4100 is taken by process \d+ of root \(.*; unit squatter\.service\)/)
    assert.equal(await exec('systemctl', 'show', '--property=MainPID', unit), running)
  })

  test('the answer of a program that came in between is none, also without a bake', async () => {
    await configure(
      { port: 4200 },
      {
        hooks: {
          before_activate: `systemd-run ${squatter('late', 4200)
            .map((one) => `"${one}"`)
            .join(' ')}; sleep 1`,
        },
      },
    )
    const { result } = await world.dploy('deploy', 'production')
    assert.notEqual(result.state, 'succeeded')
    assert.equal(result.failure!.code, 'service.unhealthy')
    assert.match(result.failure!.message, /port 4200 is held by process \d+ .*unit late\.service.*, not by the service/)
    assert.equal(await answer(3000), 'release 1')
  })

  test('another service.manager ends what the one before kept, and so does the way back', async () => {
    await configure({ manager: 'process' })
    const { result } = await world.dploy('deploy', 'production')
    assert.equal(result.state, 'succeeded', JSON.stringify(result.failure))
    assert.notEqual(await exec('systemctl', 'is-active', unit), 'active')
    assert.notEqual(await exec('systemctl', 'is-enabled', unit), 'enabled')
    const kept = await answer(3000)
    await configure({ manager: 'systemd' })
    assert.equal((await world.dploy('deploy', 'production')).result.state, 'succeeded')
    assert.match(await answer(3000), /^release \d+$/)
    assert.notEqual(await answer(3000), kept)
    assert.equal(await exec('pgrep', '-fc', 'server[.]mjs'), '1')
  })

  test('without service: what ran before is ended', async () => {
    await world.configure({
      extra: { service: undefined },
      environment: { balancer: undefined, probe: undefined },
    })
    assert.equal((await world.dploy('deploy', 'production')).result.state, 'succeeded')
    assert.notEqual(await exec('systemctl', 'is-active', unit), 'active')
    assert.equal(await answer(3000), 'nobody')
  })
})
