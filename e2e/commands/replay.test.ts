import assert from 'node:assert/strict'
import { createPrivateKey, randomUUID } from 'node:crypto'
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { describe, test } from 'node:test'
import { zstdCompressSync } from 'node:zlib'
import { Agent } from '../../src/agent/agent.ts'
import { Journal } from '../../src/agent/journal.ts'
import { agentMethods, type AgentMethod, type SignedCommand } from '../../src/protocol/agent-messages.ts'
import { diffManifests, encodeDelta, makeManifest } from '../../src/protocol/manifest.ts'
import { Peer, type Carrier } from '../../src/protocol/peer.ts'
import type { ReleaseSpec } from '../../src/protocol/release-spec.ts'
import { newKeyPair, sha256, signText } from '../../src/protocol/signature.ts'

/** Two carriers of which each gives the other what it is sent. */
function joined(): [Carrier, Carrier] {
  const make = (): Carrier => ({
    onFrame: () => {},
    onClose: () => {},
    send: async () => {},
    close() {},
    pause: () => () => {},
  })
  const [one, other] = [make(), make()]
  one.send = async (head, body = new Uint8Array(0)) =>
    void queueMicrotask(() => other.onFrame(structuredClone(head), body))
  other.send = async (head, body = new Uint8Array(0)) =>
    void queueMicrotask(() => one.onFrame(structuredClone(head), body))
  return [one, other]
}

interface Recorded {
  method: AgentMethod
  command: SignedCommand
  body: Buffer
}

/** An agent, and somebody who holds the control plane's key and can send what was sent before. */
class Scene implements Disposable {
  readonly directory = mkdtempSync(join(tmpdir(), 'dploy-replay-'))
  readonly logged: string[] = []
  readonly place = { application: 'shop', environment: 'production', directory: '/srv/shop' }
  readonly #control = newKeyPair()
  readonly #own = newKeyPair()
  #journal: Journal
  #peer: Peer

  constructor() {
    ;[this.#journal, this.#peer] = this.#begin()
  }

  /** Another agent over the same state. */
  restart(): void {
    this.#journal[Symbol.dispose]()
    ;[this.#journal, this.#peer] = this.#begin()
  }

  sign(
    method: AgentMethod,
    params: object,
    {
      epoch = 0,
      body = Buffer.alloc(0),
      server = 'srv_1',
      expires = Date.now() + 60_000,
      text: whole,
    }: { epoch?: number; body?: Buffer; server?: string; expires?: number; text?: string } = {},
  ): Recorded {
    const text =
      whole ??
      JSON.stringify({
        id: randomUUID(),
        server,
        application: 'shop',
        environment: 'production',
        epoch,
        expires,
        method,
        params,
        body: sha256(body),
      })
    return { method, command: { text, signature: signText(createPrivateKey(this.#control.privateKey), text) }, body }
  }

  send({ method, command, body }: Recorded): Promise<unknown> {
    // A file's bytes would come in its session, which nobody opens here.
    return this.#peer.call('command', command, {
      body,
      signal: AbortSignal.timeout(method === 'receive_file' ? 200 : 20_000),
    })
  }

  /** What the files of hooks and commands say was done, a line each. */
  effects(): string[] {
    const path = join(this.directory, 'effects')
    return existsSync(path) ? readFileSync(path, 'utf8').trim().split('\n') : []
  }

  get journal(): Journal {
    return this.#journal
  }

  [Symbol.dispose](): void {
    this.#journal[Symbol.dispose]()
    rmSync(this.directory, { recursive: true, force: true })
  }

  #begin(): [Journal, Peer] {
    const state = join(this.directory, 'state')
    const journal = new Journal(state)
    const identity = {
      server: 'srv_1',
      name: 'web1',
      control: 'http://localhost',
      controlKey: this.#control.publicKey,
      ...this.#own,
    }
    const installed = { directory: join(state, 'agent'), digest: '0'.repeat(64) }
    mkdirSync(installed.directory, { recursive: true })
    const agent = new Agent({
      identity,
      journal,
      stateDirectory: state,
      root: this.directory,
      version: 'test',
      installed,
      onUpgraded() {},
      keeper: { file: '/bin/false', args: [] },
      log: (text) => void this.logged.push(text),
    })
    const [ours, theirs] = joined()
    void agent.serve(theirs)
    return [journal, new Peer(ours, {})]
  }
}

/** A release of one link, whose hooks and commands leave a line each. */
function release(
  scene: Scene,
  number: number,
  changes: Partial<ReleaseSpec> = {},
): { release: ReleaseSpec; delta: Buffer } {
  const manifest = makeManifest([{ kind: 'link', path: 'mark', target: `release ${number}` }])
  const leave = (what: string) => ({
    command: `echo ${what} ${number} >> ${join(scene.directory, 'effects')}`,
    timeout: 10_000,
  })
  return {
    release: {
      id: `rel_${number}`,
      number,
      application: 'shop',
      environment: 'production',
      artifact: manifest.digest,
      revision: { commit: null, ref: null, subject: '', author: '', time: 0 },
      directory: '/srv/shop',
      keep: 5,
      shared: [],
      assets: [],
      service: null,
      hooks: { after_stage: leave('staged'), after_activate: leave('activated') },
      release_command: { ...leave('commanded'), check_old: false },
      variables: {},
      secrets: {},
      ...changes,
    },
    delta: zstdCompressSync(encodeDelta(diffManifests(null, manifest))),
  }
}

describe('a command that is not what the control plane signed for this server', { timeout: 60_000 }, () => {
  test('is refused and logged, changes nothing, and the right one after it is obeyed', async () => {
    using scene = new Scene()
    using other = new Scene()
    const { release: one, delta } = release(scene, 1)
    const params = { release: one, local: {}, from: null }
    const right = scene.sign('stage', params, { epoch: 7, body: delta })
    const said = JSON.parse(right.command.text) as Record<string, unknown>
    const altered = (changes: object) => ({
      ...right,
      command: { ...right.command, text: JSON.stringify({ ...said, ...changes }) },
    })
    const cases: [string, Recorded | { method: AgentMethod; command: unknown; body: Buffer }, RegExp][] = [
      ['unsigned', { ...right, command: { ...right.command, signature: '' } }, /not signed/],
      ['without a place for a signature', { ...right, command: { text: right.command.text } }, /cannot be read/],
      ['signed by somebody else', other.sign('stage', params, { epoch: 7, body: delta }), /not signed/],
      [
        'with another hook',
        altered({
          params: {
            ...params,
            release: {
              ...one,
              hooks: { after_stage: { command: `echo evil >> ${join(scene.directory, 'effects')}`, timeout: 1_000 } },
            },
          },
        }),
        /not signed/,
      ],
      ['with a later end', altered({ expires: Date.now() + 3_600_000 }), /not signed/],
      ['with a higher token', altered({ epoch: 8 }), /not signed/],
      [
        'for another server',
        scene.sign('stage', params, { epoch: 7, body: delta, server: 'srv_2' }),
        /meant for another server/,
      ],
      ['that has expired', scene.sign('stage', params, { epoch: 7, body: delta, expires: Date.now() - 1 }), /expired/],
      ['with another body', { ...right, body: zstdCompressSync(Buffer.from('f\t1\tx\0')) }, /its body is not the one/],
      ['whose text is no JSON', scene.sign('stage', params, { epoch: 7, body: delta, text: '{' }), /./],
      ['without a token for what changes', scene.sign('stage', params, { body: delta }), /needs a fencing token/],
    ]
    for (const [what, sent, why] of cases) {
      scene.logged.length = 0
      await assert.rejects(scene.send(sent as Recorded), { code: 'command.refused', message: why }, what)
      assert.match(scene.logged.join('\n'), why, what)
      assert.deepEqual(scene.effects(), [], what)
    }
    // None of them raised the token, nor used up the id.
    await scene.send(right)
    assert.deepEqual(scene.effects(), ['staged 1'])
    await assert.rejects(scene.send(scene.sign('stage', params, { epoch: 6, body: delta })), {
      code: 'command.refused',
      message: /fencing token 6 is older than 7/,
    })
  })
})

describe('a command that comes again', { timeout: 60_000 }, () => {
  test('of every method: what changes is done once, answered as before or refused, also by the next agent; what only reads may be asked again', async () => {
    using scene = new Scene()
    const { place } = scene
    const { release: one, delta } = release(scene, 1)
    const fenced = { epoch: 1 }
    const holder = {
      deployment: 'dep_1',
      number: 1,
      holder: 'laptop:1:1',
      requestedBy: 'anna',
      state: 'staging',
      since: 1,
    }
    const hold = { ...place, take: null, give: null, force: false, record: null }
    const session = () => randomUUID()
    // In the order in which a deployment sends them. What only reads tells the same twice, and changes nothing.
    const cases: [Recorded, 'same answer' | 'refused' | 'reads'][] = [
      [scene.sign('stage', { release: one, local: {}, from: null }, { ...fenced, body: delta }), 'same answer'],
      [scene.sign('release_command', { release: one, local: {} }, fenced), 'same answer'],
      [scene.sign('boot', { release: one, local: {}, balancerSwitches: false }, fenced), 'same answer'],
      [scene.sign('retire', { ...place, release: 1 }, fenced), 'same answer'],
      [scene.sign('activate', { release: one, local: {} }, fenced), 'same answer'],
      [scene.sign('collect', { ...place, keep: 5, protect: [] }, fenced), 'same answer'],
      [
        scene.sign('exec', {
          ...place,
          session: session(),
          command: { line: `echo ran >> ${join(scene.directory, 'effects')}` },
          sudo: false,
          timeout: 10_000,
          window: 1000,
          terminal: null,
        }),
        'refused',
      ],
      [
        scene.sign('receive_file', {
          ...place,
          session: session(),
          path: '/srv/shop/empty',
          name: 'empty',
          size: 0,
          mode: 0o644,
          digest: sha256(Buffer.alloc(0)),
        }),
        'refused',
      ],
      [scene.sign('send_file', { ...place, session: session(), path: '/effects', window: 1000 }), 'refused'],
      [scene.sign('rotate_key', { step: 'make' }), 'refused'],
      [scene.sign('upgrade', { step: 'keep', digest: '0'.repeat(64), trialSeconds: 0 }), 'refused'],
      [
        scene.sign(
          'upgrade',
          { step: 'take', digest: '1'.repeat(64), trialSeconds: 1 },
          { body: Buffer.from('not it') },
        ),
        'refused',
      ],
      [scene.sign('hold', { ...hold, take: { holder, lease: 60_000, over: null } }), 'refused'],
      [scene.sign('hold', { ...hold, give: 'dep_1' }), 'refused'],
      [scene.sign('hold', hold), 'reads'],
      [scene.sign('observe', place), 'reads'],
      [scene.sign('watch', { release: one, local: {}, duration: 1 }), 'reads'],
      [scene.sign('check_health', { release: one, local: {}, timeout: 1 }), 'reads'],
      [scene.sign('logs', { ...place, lines: 1, follow: false }), 'reads'],
      [scene.sign('diagnose', { ...place, ports: [], ask: null, patience: 1 }), 'reads'],
      // Outside of a session that runs there is nothing to be changed; within one its messages are numbered.
      [scene.sign('session', { session: session(), sequence: 1, credit: 1 }), 'reads'],
    ]
    assert.deepEqual(
      new Set(cases.map(([{ method }]) => method)),
      new Set(Object.keys(agentMethods)),
      'a method is missing here',
    )
    const answerTo = (recorded: Recorded) =>
      scene.send(recorded).then(
        (value) => ({ value }),
        (error: { code: string; message: string }) => ({ code: error.code, message: error.message }),
      )
    const firsts = []
    for (const [recorded] of cases) firsts.push(await answerTo(recorded))
    const effects = scene.effects()
    assert.deepEqual(effects, ['staged 1', 'commanded 1', 'activated 1', 'ran'])
    for (const agent of ['the same agent', 'the next agent']) {
      for (const [index, [recorded, expected]] of cases.entries()) {
        scene.logged.length = 0
        const again = await answerTo(recorded)
        const what = `${recorded.method} to ${agent}: ${JSON.stringify(again)}`
        if (expected === 'same answer') assert.deepEqual(again, firsts[index], what)
        else if (expected === 'refused') {
          assert.equal((again as { code?: string }).code, 'command.refused', what)
          assert.match(scene.logged.join('\n'), /came before/, what)
        } else assert.notEqual((again as { code?: string }).code, 'command.refused', what)
        assert.deepEqual(scene.effects(), effects, what)
        assert.equal(scene.journal.lock('shop', 'production', Date.now()), null, what)
      }
      scene.restart()
    }
  })

  test('an activation that failed stays failed, so that nobody brings a bad release back after it was rolled back', async () => {
    using scene = new Scene()
    const good = release(scene, 1)
    const bad = release(scene, 2, {
      hooks: {
        before_activate: {
          command: `echo tried >> ${join(scene.directory, 'effects')}; test -e ${join(scene.directory, 'mended')}`,
          timeout: 10_000,
        },
      },
    })
    const staged = ({ release: one, delta }: typeof good) =>
      scene.send(scene.sign('stage', { release: one, local: {}, from: null }, { epoch: 5, body: delta }))
    const activate = ({ release: one }: typeof good) =>
      scene.sign('activate', { release: one, local: {} }, { epoch: 5 })
    const current = async () => ((await scene.send(scene.sign('observe', scene.place))) as { current: number }).current
    await staged(good)
    await staged(bad)
    await scene.send(activate(good))
    const failed = activate(bad)
    const told = await scene.send(failed).then(
      () => assert.fail(),
      (error: { code: string; message: string }) => error,
    )
    await scene.send(activate(good))
    // By now it would go through.
    mkdirSync(join(scene.directory, 'mended'))
    for (const agent of ['the same agent', 'the next agent']) {
      await assert.rejects(scene.send(failed), { code: told.code, message: told.message }, agent)
      assert.equal(await current(), 1, agent)
      scene.restart()
    }
    assert.equal(scene.effects().filter((line) => line === 'tried').length, 1)
    // The control plane's own next attempt has an id of its own.
    await scene.send(activate(bad))
    assert.equal(await current(), 2)
  })

  test('one that was cut off by the death of the agent goes on when it is asked for again, but not after another change', async () => {
    using scene = new Scene()
    const [one, two] = [release(scene, 1), release(scene, 2)]
    for (const { release: spec, delta } of [one, two])
      await scene.send(scene.sign('stage', { release: spec, local: {}, from: null }, { epoch: 5, body: delta }))
    const cut = scene.sign('activate', { release: two.release, local: {} }, { epoch: 5 })
    const late = scene.sign('activate', { release: two.release, local: {} }, { epoch: 5 })
    // As an agent leaves them that is killed in the middle.
    for (const { command } of [late, cut])
      scene.journal.begin((JSON.parse(command.text) as { id: string }).id, 'activate', 'shop/production')
    scene.restart()
    await scene.send(cut)
    await scene.send(scene.sign('activate', { release: one.release, local: {} }, { epoch: 5 }))
    await assert.rejects(scene.send(late), {
      code: 'command.refused',
      message: /cut off, and another change was begun since/,
    })
    assert.match(scene.logged.join('\n'), /another change was begun since/)
    assert.deepEqual(scene.effects(), ['staged 1', 'staged 2', 'activated 2', 'activated 1'])
  })

  test("while a person's command runs, neither it nor a message of its session is taken twice", async () => {
    using scene = new Scene()
    const session = 'a'.repeat(24)
    const run = scene.sign('exec', {
      ...scene.place,
      session,
      command: { line: 'echo ran >> effects; while [ ! -e stop ]; do sleep 0.05; done' },
      sudo: false,
      timeout: 20_000,
      window: 1000,
      terminal: null,
    })
    const running = scene.send(run)
    await assert.rejects(scene.send(run), { code: 'command.refused' })
    const message = scene.sign('session', { session, sequence: 1, credit: 5 })
    await scene.send(message)
    await assert.rejects(scene.send(message), { code: 'command.refused' })
    await scene.send(
      scene.sign('exec', {
        ...scene.place,
        session: 'b'.repeat(24),
        command: { line: 'touch stop' },
        sudo: false,
        timeout: 20_000,
        window: 1000,
        terminal: null,
      }),
    )
    assert.equal(((await running) as { code: number }).code, 0)
    scene.restart()
    await assert.rejects(scene.send(run), { code: 'command.refused' })
    assert.deepEqual(scene.effects(), ['ran'])
  })
})
