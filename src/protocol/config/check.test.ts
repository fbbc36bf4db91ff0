import assert from 'node:assert/strict'
import { test } from 'node:test'
import { checkConfig } from './check.ts'
import { formatPath } from './problem.ts'
import { inspectConfig, readConfig } from './text.ts'

const service = 'service: {command: ./run, port: 3000}'
const haproxy = 'balancer: {kind: haproxy, address: "tcp:127.0.0.1:9999", backend: web}'

const arn = (region: string) => `arn:aws:elasticloadbalancing:${region}:123456789012:targetgroup/shop/73e2d6bc24d8a067`

/** Errors and warnings of a file, as `PATH: message`; the file is valid but for them. */
const cases: { name: string; text: string; errors?: RegExp[]; warnings?: RegExp[] }[] = [
  { name: 'a plain configuration has neither', text: `${service}\nenvironments: {p: {servers: [web1]}}` },
  {
    name: 'servers and balancer and probe have neither',
    text: `${service}\nenvironments: {p: {servers: [web1, web2], ${haproxy}, probe: "http://x/"}}`,
  },
  { name: 'no servers', text: `${service}\nenvironments: {p: {}}`, warnings: [/^environments\.p: has no servers yet/] },
  {
    name: 'the address that dploy init wrote',
    text: `${service}\nenvironments: {p: {servers: [{name: web1, address: web1.example.com}]}}`,
    warnings: [/^environments\.p\.servers\[0\]: web1\.example\.com is an example/],
  },
  {
    name: 'a balancer before a service without a port',
    text: `service: {command: ./run}\nenvironments: {p: {servers: [web1], ${haproxy}, probe: "http://x/"}}`,
    warnings: [/^environments\.p\.balancer: .*add service\.port/],
  },
  {
    name: 'a balancer without a probe',
    text: `${service}\nenvironments: {p: {servers: [web1], ${haproxy}}}`,
    warnings: [/^environments\.p: has a balancer but no probe/],
  },
  {
    name: 'a probe without a balancer',
    text: `${service}\nenvironments: {p: {servers: [web1], probe: "http://x/"}}`,
    warnings: [/^environments\.p\.probe: /],
  },
  {
    name: 'a balancer before files only',
    text: `environments: {p: {servers: [web1], ${haproxy}, probe: "http://x/"}}`,
    warnings: [/^environments\.p\.balancer: /],
  },
  {
    name: 'a health check without a port',
    text: 'service: {command: ./run, health: /up}\nenvironments: {p: {servers: [web1]}}',
    warnings: [/^service\.health: is not asked/],
  },
  {
    name: 'instances without a port',
    text: 'service: {command: ./run, instances: 2}\nenvironments: {p: {servers: [web1]}}',
    warnings: [/^service\.instances: /],
  },
  {
    name: 'PORT among the variables',
    text: `${service}\nvariables: {PORT: 80}\nenvironments: {p: {servers: [web1]}}`,
    warnings: [/^variables\.PORT: is not used/],
  },
  {
    name: 'commands of another manager',
    text: `service: {command: ./run, restart: x}\nenvironments: {p: {servers: [web1]}}`,
    warnings: [/^service\.restart: is not used: .*"auto"/],
  },
  {
    name: 'a command beside manager command',
    text: `service: {command: ./run, manager: command, restart: x, port: 80}\nenvironments: {p: {servers: [web1]}}`,
    warnings: [/^service\.command: is not used/],
  },
  {
    name: 'AWS without anything that servers stand in',
    text: `${service}\nenvironments: {p: {servers: [a], balancer: {kind: aws}, probe: "http://x/"}}`,
    errors: [/^environments\.p\.balancer: needs the key "target_groups" or "classic"/],
  },
  {
    name: 'AWS in two regions',
    text: `${service}\nenvironments: {p: {servers: [a], balancer: {kind: aws, target_groups: [${arn('eu-west-1')}, ${arn('us-east-1')}]}, probe: "http://x/"}}`,
    errors: [/^environments\.p\.balancer\.target_groups: are in eu-west-1 and in us-east-1/],
  },
  {
    name: 'AWS in another region than its target group',
    text: `${service}\nenvironments: {p: {servers: [a], balancer: {kind: aws, region: us-east-1, target_groups: ${arn('eu-west-1')}}, probe: "http://x/"}}`,
    errors: [/^environments\.p\.balancer\.target_groups: are in us-east-1 and in eu-west-1/],
  },
  {
    name: 'a target of a server that is not there',
    text: `${service}\nenvironments: {p: {servers: [a], balancer: {kind: aws, target_groups: ${arn('eu-west-1')}, targets: {a: i-0598c7d356eba48d7, b: "10.0.0.1:80"}}, probe: "http://x/"}}`,
    warnings: [/^environments\.p\.balancer\.targets\.b: is not used: there is no server "b"/],
  },
  {
    name: 'failures that nothing rolls back',
    text: `${service}\nenvironments: {p: {servers: [a, b], strategy: {max_failures: 2}}}`,
    warnings: [/^environments\.p\.strategy\.max_failures: is 2 of 2 servers/],
  },
  {
    name: 'shared paths in each other',
    text: `release: {shared: [log, log/puma, ./log/]}\nenvironments: {p: {servers: [web1]}}`,
    errors: [/^release\.shared\[1\]: "log\/puma" lies in "log"/, /^release\.shared\[2\]: "log" stands twice/],
  },
  {
    name: 'writable paths in shared ones',
    text: `release: {shared: [log], writable: [., tmp, tmp/cache, log/app]}\nenvironments: {p: {servers: [web1]}}`,
    errors: [
      /^release\.writable\[0\]: the whole release/,
      /^release\.writable\[2\]: "tmp\/cache" lies in "tmp"/,
      /^release\.writable\[3\]: "log\/app" and "log" of release.shared/,
    ],
  },
  { name: 'names that only begin alike', text: `release: {shared: [log, logs]}\nenvironments: {p: {servers: [web1]}}` },
  {
    name: 'everything shared',
    text: `release: {shared: [.]}\nenvironments: {p: {servers: [web1]}}`,
    errors: [/^release\.shared\[0\]: the whole release/],
  },
  {
    name: 'what is shipped under a shared path',
    text: `release: {shared: [public]}\nbuild: {ship: [public/assets]}\nenvironments: {p: {servers: [web1]}}`,
    warnings: [/^build\.ship\[0\]: "public\/assets" is shipped/],
  },
  {
    name: 'a directory of the system',
    text: `release: {directory: /var/www/}\nenvironments: {p: {servers: [web1]}}`,
    errors: [/^release\.directory: \/var\/www belongs to the system; .*\/var\/www\/x$/],
  },
  {
    name: 'two environments on one port of one machine',
    text: `${service}\nenvironments: {p: {servers: [web1]}, s: {servers: [{name: other, address: "deploy@WEB1:22"}]}}`,
    errors: [
      /^environments\.s\.servers\[0\]: is the same machine as "web1" of p \(web1\): both would use port 3000, and the directory \/srv\/x/,
    ],
  },
  {
    name: 'two environments in one directory of one machine',
    text: `environments: {p: {servers: [web1]}, s: {servers: [web1]}}`,
    errors: [/both would use the directory \/srv\/x/],
  },
  {
    name: 'two environments on two ports of one machine',
    text: `${service}\nenvironments: {p: {servers: [web1]}, s: {servers: [{name: web1, port: 4000}]}}`,
    errors: [
      /^environments\.s\.servers\[0\]: is the same machine as "web1" of p \(web1\): both would use the directory \/srv\/x\. .*environments\.s\.directory, such as \/srv\/x-s/,
    ],
  },
  {
    name: 'two environments with ports and directories of their own on one machine',
    text: `${service}\nenvironments: {p: {servers: [web1]}, s: {directory: /srv/x-s, servers: [{name: web1, port: 4000}]}}`,
  },
  {
    name: 'two environments without ports and with directories of their own on one machine',
    text: `environments: {p: {servers: [web1]}, s: {directory: /srv/x-s, servers: [web1]}}`,
  },
  {
    name: 'an environment in the directory of another',
    text: `environments: {p: {servers: [web1]}, s: {directory: /srv/x/s, servers: [web1]}}`,
    errors: [/both would use the directory \/srv\/x\./],
  },
  {
    name: 'an environment in a directory of the system',
    text: `environments: {p: {directory: /var/www, servers: [web1]}}`,
    errors: [/^environments\.p\.directory: \/var\/www belongs to the system/],
  },
  {
    name: 'two environments on machines of their own',
    text: `${service}\nenvironments: {p: {servers: [web1]}, s: {servers: [web2]}}`,
  },
  {
    name: 'several agents on this machine',
    text: `${service}\nenvironments: {p: {servers: [{name: a, address: 127.0.0.1, port: 1}, {name: b, address: 127.0.0.1, port: 2}]}}`,
  },
  {
    name: 'instances that run into the next server',
    text: `service: {command: x, port: 1, instances: 3}\nenvironments: {p: {servers: [{name: a, address: 127.0.0.1, port: 1000}, {name: b, address: 127.0.0.1, port: 1002}]}}`,
    errors: [/is the same machine as "a" of p/],
  },
  {
    name: 'IPv6 addresses',
    text: `${service}\nenvironments: {p: {servers: [{name: a, address: "[fd00::1]:22"}]}, s: {servers: [{name: b, address: "fd00::1"}]}}`,
    errors: [/\(fd00::1\)/],
  },
  {
    name: 'instances of one server over the last port',
    text: `service: {command: x, port: 80, instances: 4}\nenvironments: {p: {servers: [{name: a, port: 65534}]}}`,
    errors: [/^environments\.p\.servers\[0\]\.port: 4 instances need the ports up to 65537/],
  },
]

for (const one of cases) {
  test(`${one.errors ? 'refuses' : one.warnings ? 'warns of' : 'accepts that'} ${one.name}`, () => {
    const text = `application: x\n${one.text}\n`
    const { config, errors, warnings } = inspectConfig(text)
    compare(
      errors.map((error) => `${formatPath(error.path)}: ${error.message}`),
      one.errors ?? [],
    )
    if (one.errors === undefined)
      compare(
        warnings.map((warning) => `${formatPath(warning.path)}: ${warning.message}`),
        one.warnings ?? [],
      )
    assert.equal(config === null, one.errors !== undefined)
    for (const found of [...errors, ...warnings])
      assert.ok(found.line >= 2 && found.line <= text.split('\n').length - 1, `line ${found.line}`)
    if (config === null) assert.throws(() => readConfig(text), { code: 'config.invalid' })
    else compare(checkConfig(config), one.warnings ?? [])
  })
}

function compare(said: string[], expected: RegExp[]): void {
  assert.deepEqual(
    said.map((text, index) => expected[index]?.test(text) || text),
    expected.map(() => true),
  )
}
