import assert from 'node:assert/strict'
import { copyFileSync, existsSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { after, before, describe, test } from 'node:test'
import { setTimeout as delay } from 'node:timers/promises'
import { stripVTControlCharacters } from 'node:util'
import { Person, script } from '../commands/person.ts'
import { mustRun } from '../fleet/command.ts'
import { unavailable } from '../fleet/fleet.ts'
import { World } from '../world.ts'

const reason = unavailable() ?? (existsSync(script) ? null : 'needs script(1) of util-linux')

describe(
  'what ssh asks a person, at the terminal of dploy',
  { skip: reason ?? false, concurrency: 1, timeout: 240_000 },
  () => {
    let world: World
    before(async () => {
      world = await World.up({ servers: 3, ssh: 'deploy', strategy: { bake: '0s' } })
      // The first gets Node while others are asked about.
      for (const server of world.servers.slice(1))
        await server.mustExec('ln', ['-s', '/opt/dploy/node', '/usr/local/bin/node'])
    })
    after(async () => world?.[Symbol.asyncDispose]())

    /** `dploy` at a terminal, under an ssh configuration that is the person's own. No connection is open. */
    const atTerminal = async (name: string, lines: string[], ...args: string[]) => {
      await world.closeConnections()
      const file = join(world.directory, `config-${name}`)
      const hosts = world.servers.map((server) => `Host ${server.name}\n  HostName ${server.address}\n`).join('')
      writeFileSync(
        file,
        `${hosts}Host *\n${['IdentityAgent none', 'IdentitiesOnly yes', 'GlobalKnownHostsFile none', ...lines].map((line) => `  ${line}\n`).join('')}`,
      )
      return new Person(
        { directory: world.repository, environment: { ...world.environment, DPLOY_SSH_CONFIG: file } },
        ...args,
      )
    }
    const count = (person: Person, pattern: RegExp) => person.shown.match(new RegExp(pattern.source, 'g'))?.length ?? 0
    /** Answers a question when it is asked for the first, second, … time, and is slow about it, or waits for something. */
    const answer = async (
      person: Person,
      question: RegExp,
      numbers: number[],
      text: string,
      slowly: () => Promise<unknown> = () => delay(700),
    ) => {
      for (const asked of numbers) {
        for (const deadline = Date.now() + 40_000; count(person, question) < asked; await delay(20))
          assert.ok(Date.now() < deadline, `question ${asked} does not come: ${JSON.stringify(person.shown)}`)
        const { shown } = person
        await slowly()
        assert.equal(person.shown, shown, 'something was written over the question')
        assert.match(shown, new RegExp(`(?:${question.source})$`))
        person.type(text)
      }
    }
    /** The first server has the Node that it gets from here. */
    const nodeIsThere = async () => {
      for (
        const deadline = Date.now() + 40_000;
        !/^node-[0-9a-f]{64}$/m.test((await world.servers[0]!.exec('ls', ['/var/lib/dploy/runtime'])).stdout);
        await delay(50)
      )
        assert.ok(Date.now() < deadline, 'the first server does not get Node while a question is open')
    }
    const key = () => world.servers[0]!.ssh.identityFile
    const hostKey = /(?:^|\n|\r\u001b\[K)\r?The authenticity of host [^\n]+ can't be established[^?]+\? /

    test('whether host keys are right: asked of one server after the other, while another gets Node, and nothing is written over it', async () => {
      const known = join(world.directory, 'known')
      writeFileSync(
        known,
        readFileSync(world.servers[0]!.ssh.knownHostsFile, 'utf8')
          .split('\n')
          .filter((line) => /\bweb1\b/.test(line))
          .map((line) => `${line}\n`)
          .join(''),
      )
      await using person = await atTerminal(
        'unknown',
        [`IdentityFile ${key()}`, `UserKnownHostsFile ${known}`, 'HostKeyAlgorithms ssh-ed25519'],
        'deploy',
        'production',
      )
      await answer(person, hostKey, [1], 'yes\r', nodeIsThere)
      await answer(person, hostKey, [2], 'yes\r')
      await person.sees(/Deployment 1 succeeded/, 60_000)
      assert.equal(await person.code(), 0)
      person.restored()
      assert.equal(count(person, hostKey), 2)
      for (const name of world.servers.map(({ address }) => address))
        assert.ok(readFileSync(known, 'utf8').includes(name), name)
      for (const said of await world.answers()) assert.match(said, /^one /)
    })

    test('who says no is told ssh.host_key_unknown and what to type next, and is asked once about each, however long it takes', async () => {
      await using person = await atTerminal(
        'no',
        [`IdentityFile ${key()}`, `UserKnownHostsFile ${join(world.directory, 'none')}`],
        'deploy',
        'production',
      )
      await answer(person, hostKey, [1], 'no\r')
      // Longer than a failure is believed without another try.
      await delay(10_500)
      await answer(person, hostKey, [2, 3], 'no\r')
      assert.equal(await person.code(), 1)
      assert.equal(count(person, hostKey), 3)
      assert.match(
        stripVTControlCharacters(person.shown).replaceAll(/\s+/g, ' '),
        /3 servers cannot be reached: web1, web2, web3\. The host key of [\d.]+ is not known on this machine yet next: Connect once by hand and compare the fingerprint: ssh (-F .+ )?deploy@web\d \(ssh\.host_key_unknown\)/,
      )
      person.restored()
      for (const said of await world.answers()) assert.match(said, /^one /)
    })

    test('the passphrase of a key, for the server alone that is meant, before the terminal is its own', async () => {
      const locked = join(world.directory, 'locked')
      copyFileSync(key(), locked)
      await mustRun('ssh-keygen', ['-q', '-p', '-P', '', '-N', 'open sesame', '-f', locked])
      await using person = await atTerminal(
        'passphrase',
        [`IdentityFile ${locked}`, `UserKnownHostsFile ${world.servers[0]!.ssh.knownHostsFile}`],
        'shell',
        'web1',
      )
      await answer(person, /Enter passphrase for key '[^']+': /, [1], 'open sesame\r')
      await person.sees(/[#$] $/)
      assert.equal(count(person, /Enter passphrase/), 1)
      assert.doesNotMatch(person.shown, /sesame/)
      person.type('stty size; hostname; id -un\r')
      await person.sees(/30 90\s+web1\s+root/)
      person.type('exit 3\r')
      assert.equal(await person.code(), 3)
      person.restored()
    })

    test('the password of the user', async () => {
      for (const server of world.servers) await server.mustExec('chpasswd', [], { stdin: 'deploy:open sesame\n' })
      const lines = ['PreferredAuthentications password', `UserKnownHostsFile ${world.servers[0]!.ssh.knownHostsFile}`]
      await using person = await atTerminal('password', lines, 'exec', 'production', '--', 'hostname')
      await answer(person, /deploy@[\d.]+'s password: /, [1, 2, 3], 'open sesame\r')
      assert.equal(await person.code(), 0)
      for (const { name } of world.servers) assert.match(person.shown, new RegExp(`${name}: ${name}`))
      assert.doesNotMatch(person.shown, /sesame/)
      person.restored()
    })
  },
)
