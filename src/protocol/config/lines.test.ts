import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { test } from 'node:test'
import { configLines, settingsInForce } from './lines.ts'
import { readConfig } from './text.ts'

const shop = `application: shop
# How it runs.
service:
  command: node server.js
  port: 3000
  health: /healthz
variables: { GREETING: hello }
environments:
  production: &usual
    servers: [web1, web2]
    strategy: { kind: canary, judge: 90s }
  staging:
    <<: *usual
    servers: [web3]
`

test('each line of a dploy.yml has what its keys mean, and stays as it was written', () => {
  const lines = configLines(shop)
  assert.equal(`${lines.map((line) => line.text).join('\n')}`, shop)
  assert.match(lines[0]!.keys[0]!.meaning, /name of the application/)
  assert.deepEqual(lines[1]!.keys, [])
  assert.equal(lines[5]!.keys[0]!.path, 'service.health')
  assert.deepEqual(
    lines[10]!.keys.map(({ path }) => path),
    [
      'environments.production.strategy',
      'environments.production.strategy.kind',
      'environments.production.strategy.judge',
    ],
  )
  assert.deepEqual(lines[12]!.keys, [], 'what an alias brings is told once, where it stands')
})

test('a file that cannot be read has its lines, and no meaning', () => {
  assert.deepEqual(
    configLines(`${shop}  - [`).flatMap((line) => line.keys),
    [],
  )
  assert.deepEqual(
    configLines('').map((line) => line.text),
    [''],
  )
})

test('what is in force says what the file leaves to the defaults, as a person would write it', () => {
  const settings = new Map(settingsInForce(readConfig(shop), 'production', shop).map((one) => [one.key, one]))
  assert.deepEqual([settings.get('strategy.judge')!.value, settings.get('strategy.judge')!.written], ['90s', true])
  assert.deepEqual([settings.get('strategy.bake')!.value, settings.get('strategy.bake')!.written], ['2s', false])
  assert.deepEqual([settings.get('timeouts.stage')!.value, settings.get('build.timeout')!.value], ['10m', '15m'])
  assert.deepEqual(
    [
      settings.get('service.health.path')!.value,
      settings.get('service.health.path')!.written,
      settings.get('service.health.timeout')!.written,
    ],
    ['/healthz', true, false],
  )
  assert.match(settings.get('strategy.batch')!.meaning, /switch together/)
  assert.ok(!settings.has('servers') && !settings.has('variables.GREETING'))
  assert.equal(
    settingsInForce(readConfig(shop), 'production', null).find(({ key }) => key === 'strategy.judge')!.written,
    null,
  )
})

test('the example that uses every key is explained on nearly every line that has one', () => {
  const example = readFileSync(new URL('../../../docs/dploy.example.yml', import.meta.url), 'utf8')
  const keyed = configLines(example).filter((line) => /^\s*(?:- )?[a-z_]+:/.test(line.text))
  const dumb = keyed.filter((line) => line.keys.length === 0).map((line) => line.text.trim())
  assert.ok(dumb.length < keyed.length / 4, dumb.join('\n'))
  const config = readConfig(example)
  for (const { key, meaning } of settingsInForce(config, Object.keys(config.environments)[0]!, example))
    assert.ok(meaning !== '' || /variables|header|tags|servers|targets/.test(key), key)
})
