import assert from 'node:assert/strict'
import { test } from 'node:test'
import { inspectConfig, readConfig } from './text.ts'
import { DployError } from '../errors.ts'

const environments = 'environments: {production: {servers: [web1]}}'

test('fills in what is left out, in milliseconds', () => {
  const config = readConfig(
    `application: shop\nservice: {command: ./run, port: 80}\nhooks: {after_stage: make}\n${environments}\n`,
  )
  assert.deepEqual(config.source, { repository: '.', subfolder: undefined })
  assert.equal(config.service?.health.timeout, 30_000)
  assert.deepEqual(config.hooks.after_stage, { command: 'make', timeout: 600_000 })
  assert.deepEqual(config.environments['production']?.servers, [{ name: 'web1', tags: {} }])
  assert.deepEqual(config.environments['production']?.strategy, {
    kind: 'rolling',
    canary: '10%',
    judge: 120_000,
    inconclusive: 'continue',
    guard: 'on',
    downtime: 'refused',
    batch: '25%',
    min_healthy: 0,
    order: [],
    pause: 'never',
    pause_limit: 3_600_000,
    max_failures: 0,
    max_unavailable: 0,
    bake: 2000,
    bake_batch: 0,
    bake_group: 0,
  })
  assert.deepEqual(config.environments['production']?.balancer, { kind: 'none' })
})

test('reads durations in every unit, and a bare number as seconds', () => {
  for (const [text, ms] of [
    ['250ms', 250],
    ['1.5s', 1500],
    ['5m', 300_000],
    ['1h', 3_600_000],
    ['7', 7000],
    ['0.5', 500],
  ] as const) {
    assert.equal(readConfig(`application: x\nbuild: {timeout: ${text}}\n${environments}`).build.timeout, ms, text)
  }
})

test('keeps variables as they are written', () => {
  const { variables } = readConfig(
    `application: x\nvariables:\n  VERSION: 1.10\n  MODE: 0644\n  ON: yes\n  DEBUG: True\n  EMPTY: ""\n  KEY: |\n    a\n    b\n${environments}`,
  )
  assert.deepEqual(variables, { VERSION: '1.10', MODE: '0644', ON: 'yes', DEBUG: 'True', EMPTY: '', KEY: 'a\nb\n' })
})

test('writes paths the same way however they were written', () => {
  const config = readConfig(
    `application: x\nrelease: {directory: /srv//x/, shared: [./log/, public//uploads]}\nbuild: {ship: [./]}\n${environments}`,
  )
  assert.deepEqual(
    [config.release.directory, config.release.shared, config.build.ship],
    ['/srv/x', ['log', 'public/uploads'], ['.']],
  )
})

test('fills in anchors, aliases and merged mappings', () => {
  const { environments: read } = readConfig(
    'application: x\nenvironments:\n  production: &base\n    servers: [a]\n    strategy: {batch: 1}\n  staging:\n    <<: *base\n    servers: [b]\n',
  )
  assert.equal(read['staging']?.strategy.batch, 1)
  assert.equal(read['staging']?.servers[0]?.name, 'b')
})

test('reads a file with a byte order mark and Windows line ends', () => {
  assert.equal(readConfig(`\ufeffapplication: shop\r\n${environments}\r\n`).application, 'shop')
  assert.deepEqual(placesOf(`\ufeffapplication: shop\r\nbogus: 1\r\n${environments}\r\n`), ['2:1'])
})

test('names line, column, the place in the file, what is wrong and what was meant', () => {
  assert.throws(
    () =>
      readConfig(
        'application: shop\n\nenvironments:\n  production:\n    servers: [a]\n    strategy:\n      bach: 25%\n',
        'shop/dploy.yml',
      ),
    (error) => {
      assert.ok(error instanceof DployError)
      assert.equal(error.code, 'config.invalid')
      assert.equal(error.where, 'shop/dploy.yml:7')
      assert.equal(
        error.message,
        'shop/dploy.yml:7:7  environments.production.strategy: unknown key "bach"; did you mean "batch"?\n   7 |       bach: 25%\n     |       ^^^^',
      )
      return true
    },
  )
})

test('lists every problem, in the order of the lines', () => {
  const text =
    'buidl: {}\napplication: a b\nservice:\n  port: "80"\n  comand: x\nenvironments:\n  production: {servers: [{port: 0}]}\n'
  assert.deepEqual(placesOf(text), ['1:1', '2:14', '4:9', '5:3', '7:27', '7:33'])
})

/** Text, line:column, and what the message has to say. Each has exactly one problem. */
const told: [name: string, text: string, place: string, says: RegExp][] = [
  [
    'an unknown key near a valid one',
    'service: {command: x, prot: 5}',
    '1:23',
    /^unknown key "prot"; did you mean "port"\?$/,
  ],
  ['letters that changed places', 'buidl: {}', '1:1', /did you mean "build"\?/],
  [
    'the spelling of other tools',
    'environments: {p: {strategy: {max-failures: 1}}}',
    '1:31',
    /did you mean "max_failures"\?/,
  ],
  ['a key that belongs elsewhere', 'keep: 3', '1:1', /^unknown key "keep" here; it belongs under release$/],
  [
    'a key that is near nothing',
    'release: {zebra: 3}',
    '1:11',
    /^unknown key "zebra"; the keys here are directory, keep, shared, writable, assets$/,
  ],
  [
    'an unknown key in one branch of a union',
    'hooks: {after_stage: {comand: x}}',
    '1:23',
    /^unknown key "comand"; did you mean "command"\?$/,
  ],
  [
    'a missing key in a list entry',
    'environments: {p: {servers: [{port: 80}]}}',
    '1:31',
    /^is missing; it must be a name of letters.*for example web1$/,
  ],
  [
    'a number in quotes',
    'service: {command: x, port: "3000"}',
    '1:29',
    /^must be a whole number from 1 to 65535, not the text "3000"; write 3000 without quotes$/,
  ],
  [
    'a number out of range',
    'service: {command: x, port: 70000}',
    '1:29',
    /^must be a whole number from 1 to 65535, not 70000$/,
  ],
  ['a number that is not whole', 'release: {keep: 1.5}', '1:17', /^must be a whole number from 1 to 1000, not 1.5$/],
  ['infinity', 'build: {timeout: .inf}', '1:18', /^must be a duration such as/],
  ['text that YAML reads as a number', 'service: {command: 5}', '1:20', /text needs quotes: "5"$/],
  [
    'a duration that is none',
    'build: {timeout: ten}',
    '1:18',
    /^must be a duration such as 250ms, 10s, 5m or 1h, not the text "ten"$/,
  ],
  ['a duration of nothing', 'build: {timeout: 0s}', '1:18', /^must be at least 1 ms, not 0 ms$/],
  ['a duration over what timers hold', 'build: {timeout: 9999h}', '1:18', /^must be at most 168h$/],
  ['a negative duration', 'build: {timeout: -5}', '1:18', /^must be a duration/],
  [
    'a word that is not among those',
    'service: {command: x, manager: docker}',
    '1:32',
    /^must be "auto", "systemd", "process" or "command", not the text "docker"$/,
  ],
  [
    'an unknown kind',
    'environments: {p: {balancer: {kind: traefik}}}',
    '1:37',
    /^must be "haproxy", ("[a-z]+", )*"builtin" or "none", not the text "traefik"$/,
  ],
  [
    'a kind that is missing',
    'environments: {p: {balancer: {backend: web}}}',
    '1:20',
    /^is missing; it must be "haproxy", ("[a-z]+", )*"builtin" or "none"$/,
  ],
  [
    'an address of no Runtime API',
    'environments: {p: {balancer: {kind: haproxy, address: /run/x.sock, backend: web}}}',
    '1:55',
    /such as unix:/,
  ],
  [
    'an entry of a list that is wrong',
    'service: {command: x, port: 1, health: {status: [200, 20]}}',
    '1:55',
    /^must be a whole number from 100 to 599, not 20$/,
  ],
  ['a list where text was written', 'build: {ship: dist}', '1:15', /not the text "dist"; write \[dist\]$/],
  ['an empty list', 'build: {ship: []}', '1:9', /^must be a list that is not empty/],
  ['a mapping where text belongs', 'application: {name: x}', '1:1', /^must be a name of letters.*, not a mapping$/],
  [
    'text where a mapping belongs',
    'build: npm run build',
    '1:8',
    /^must be a mapping with the keys command, ship.*, not the text "npm run build"$/,
  ],
  ['a key without a value', 'hooks:\n  after_stage:', '2:3', /^has no value; .*Remove the line if nothing is meant$/],
  ['a required key without a value', 'application:', '1:1', /^has no value; it must be a name of letters[^.]*".", "_"/],
  ['a variable without a value', 'variables: {A: }', '1:13', /^has no value; it must be text, a number, true or false/],
  ['a variable that is a list', 'variables: {A: [1]}', '1:13', /not a list$/],
  [
    'a name of a variable that the shell refuses',
    'variables: {a-b: 1}',
    '1:13',
    /^"a-b" must be a name of letters, digits and "_"/,
  ],
  ['a name of an environment with a slash', 'environments: {a/b: {}}', '1:16', /^"a\/b" must be a name/],
  ['no environment', 'environments: {}', '1:15', /^name at least one environment$/],
  ['a path that leaves its directory', 'release: {shared: [a/../../b]}', '1:20', /without "\.\."/],
  [
    'an absolute path where a relative one belongs',
    'release: {shared: [/etc]}',
    '1:20',
    /^must be a path inside the directory/,
  ],
  ['a relative directory', 'release: {directory: srv/x}', '1:22', /^must be an absolute path/],
  [
    'a repository that git would take for an option',
    'source: --upload-pack=evil',
    '1:9',
    /^must be a git URL or a path/,
  ],
  [
    'an address that ssh would take for an option',
    'environments: {p: {servers: [{name: a, address: -oProxyCommand=evil}]}}',
    '1:49',
    /^must be a host/,
  ],
  [
    'a branch that git would take for an option',
    'environments: {p: {branch: "--upload-pack=evil"}}',
    '1:28',
    /^must be the name of a branch/,
  ],
  [
    'a header smuggled into the health path',
    'service: {command: x, health: "/a\\r\\nX: y"}',
    '1:31',
    /^must be a path that begins with "\/"/,
  ],
  ['a NUL in a command', 'release_command: "a\\0b"', '1:18', /^must be a command line/],
  ['a blank command', 'release_command: " "', '1:18', /^must be a command line/],
  [
    'a share of nothing',
    'environments: {p: {strategy: {batch: 0%}}}',
    '1:38',
    /^must be a number of servers, a share such as 25%, or auto/,
  ],
  [
    'batches for a load that nobody can carry',
    'environments: {p: {strategy: {batch: auto}}}',
    '1:38',
    /needs the key "capacity"/,
  ],
  [
    'a probe that is no web address',
    'environments: {p: {probe: "ftp://x"}}',
    '1:27',
    /^must be an http or https address/,
  ],
  ['a server that stands twice', 'environments: {p: {servers: [a, b, a]}}', '1:36', /^the server "a" stands twice$/],
  ['a service without a command', 'service: {port: 80}', '1:1', /^is missing: the command that starts the service$/],
  ['a manager without its commands', 'service: {manager: command}', '1:20', /needs the key "restart"/],
  [
    'instances over the last port',
    'service: {command: x, port: 65535, instances: 2}',
    '1:29',
    /the last port is 65535$/,
  ],
  ['a key that stands twice', 'build: {}\nbuild: {}', '2:1', /^the key "build" stands twice$/],
  ['a tab as indentation', 'build:\n\tcommand: x', '2:1', /^a tab stands in the indentation/],
  ['two keys on a line', 'build: command: x', '1:8', /^two keys stand on one line/],
  ['a quote that is not closed', 'build: {command: "x}', '1:18', /^a quote begins here and is not closed$/],
  ['an alias without anchor', 'release_command: *x', '1:18', /no anchor &x/],
  ['an anchor that contains itself', 'build: &a {command: *a}', '1:21', /contains itself/],
  ['a merge of what is no mapping', 'build: {cache: &a [x], <<: *a}', '1:24', /"<<" takes a mapping/],
  ['a tag', 'release_command: !secret x', '1:18', /^tags .* have no meaning here/],
  ['a second document', 'build: {}\n---\nx: 1', '2:1', /^a second document begins here/],
  ['a key of JavaScript', '__proto__: {}', '1:1', /cannot be called "__proto__"/],
  ['a mapping as a key', '? {a: b}\n: c', '1:3', /^a key has to be text$/],
]

for (const [name, text, place, says] of told) {
  test(`tells ${name}`, () => {
    const { config, errors } = inspectConfig(completed(text))
    assert.equal(config, null)
    assert.deepEqual(
      errors.map(({ line, column, message }) => [`${line}:${column}`, says.test(message) || message]),
      [[place, true]],
    )
  })
}

const whole: [name: string, text: string, place: string, says: RegExp][] = [
  ['an empty file', '', '1:1', /^the file is empty/],
  ['a file of comments', '# nothing\n\n# here\n', '1:1', /^the file is empty/],
  ['a list', '- a\n- b\n', '1:1', /^must be a mapping with the keys application.*, not a list$/],
  ['a word', 'hello', '1:1', /not the text "hello"$/],
  ['an unfinished file', 'application: shop\n', '1:1', /^is missing; it must be environments by name/],
  ['a NUL byte', 'application: a\n\0', '2:1', /^the file is not text in UTF-8/],
  [
    'bytes that are not UTF-8',
    Buffer.from([0x61, 0x3a, 0x20, 0xff, 0xfe]).toString('utf8'),
    '1:4',
    /^the file is not text in UTF-8/,
  ],
  [
    'a picture',
    Buffer.from('89504e470d0a1a0a0000000d49484452', 'hex').toString('utf8'),
    '1:1',
    /^the file is not text in UTF-8/,
  ],
  [
    'ten megabytes',
    `application: shop\n${'# comment\n'.repeat(1_000_000)}`,
    '104857:1',
    /^the file is too large: over 1 MB$/,
  ],
]

for (const [name, text, place, says] of whole) {
  test(`tells ${name}`, () => {
    const { config, errors } = inspectConfig(text)
    assert.equal(config, null)
    assert.deepEqual(
      errors.map(({ line, column, message }) => [`${line}:${column}`, says.test(message) || message]),
      [[place, true]],
    )
  })
}

test('an error about a control character does not write it to the terminal', () => {
  assert.throws(
    () => readConfig(`application: "\\e]0;title\\a"\n${environments}`),
    (error) => error instanceof DployError && !/[\x00-\x09\x0b-\x1f]/.test(error.message),
  )
  assert.throws(
    () => readConfig(`application: x\x1b[2J\n${environments}`),
    (error) => error instanceof DployError && !/[\x00-\x09\x0b-\x1f]/.test(error.message),
  )
})

test('a long line is shown around what is meant', () => {
  const text = `application: shop\nvariables: {${Array.from({ length: 200 }, (_, index) => `KEY_${index}: value`).join(', ')}, a-b: 1}\n${environments}`
  assert.throws(
    () => readConfig(text),
    (error) => {
      assert.ok(error instanceof DployError)
      const [, excerpt, mark] = error.message.split('\n')
      assert.ok(excerpt!.length < 140)
      assert.equal(excerpt!.slice(mark!.indexOf('^'), mark!.lastIndexOf('^') + 1), 'a-b')
      return true
    },
  )
})

/** The rest that a file needs, below what is tested, so that the only problem is the tested one. */
function completed(text: string): string {
  const rest = [
    /^application:/m.test(text) ? '' : 'application: shop',
    /^environments:/m.test(text) ? '' : environments,
  ].filter((line) => line !== '')
  return /^---|^\? /m.test(text) ? text : [text, ...rest].join('\n')
}

function placesOf(text: string): string[] {
  return inspectConfig(text).errors.map(({ line, column }) => `${line}:${column}`)
}
