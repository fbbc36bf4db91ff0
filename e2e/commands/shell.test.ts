import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { existsSync, mkdtempSync, readFileSync, rmSync, symlinkSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, describe, test } from 'node:test'
import { setTimeout as delay } from 'node:timers/promises'
import { terminalOf, terminalProgram } from '../../src/agent/commands/terminal.ts'
import { Person, script } from './person.ts'
import { Team } from './team.ts'

const reason = !existsSync(script) ? 'needs script(1) of util-linux' : false

describe('dploy shell', { skip: reason, concurrency: 1, timeout: 120_000 }, () => {
  let team: Team
  before(async () => {
    team = await Team.up({ servers: 1 })
  })
  after(async () => team?.[Symbol.asyncDispose]())

  test('is a terminal with colours and the size of this one, also when that changes', async () => {
    await using person = new Person(team, 'shell', 'web1')
    await person.sees(/[#$] $/)
    person.type('stty size; tput colors; tty; echo "<$DPLOY_SERVER>"\r')
    await person.sees(/30 90\s+256\s+\/dev\/pts\/\d+\s+<web1>/)
    const local = terminalOf(person.child.pid!)!
    spawn('stty', ['-F', local, 'cols', '101', 'rows', '44'])
    for (const deadline = Date.now() + 10_000; !/44 101/.test(person.shown) && Date.now() < deadline; await delay(200))
      person.type('stty size\r')
    await person.sees(/44 101/)
    person.type(`printf '\\033[31mred\\033[0m\\n'\r`)
    await person.sees(/\u001B\[31mred\u001B\[0m/)
    person.type('exit 7\r')
    assert.equal(await person.code(), 7)
    person.restored()
  })

  test('Ctrl-C goes to what runs there, and not to dploy', async () => {
    await using person = new Person(team, 'shell', 'web1')
    await person.sees(/[#$] $/)
    person.type('sleep 600 || echo ended-$?\r')
    await person.sees(/sleep 600/)
    await delay(300)
    person.type('\u0003')
    await person.sees(/\^C[\s\S]*[#$] $/)
    person.type('exit\r')
    await person.code()
    person.restored()
  })

  test('a large paste arrives whole', async () => {
    await using person = new Person(team, 'shell', 'web1')
    await person.sees(/[#$] $/)
    person.type('stty -echo -icanon; head -c 200000 | sha256sum | cut -c1-8; stty sane\r')
    await delay(500)
    for (let part = 0; part < 20; part++) person.type('x'.repeat(10_000))
    const { createHash } = await import('node:crypto')
    await person.sees(new RegExp(createHash('sha256').update('x'.repeat(200_000)).digest('hex').slice(0, 8)))
    person.type('exit\r')
    await person.code()
  })

  test('the terminal is given back when dploy is ended from outside or the person gives up, and nothing stays on the server', async () => {
    for (const end of ['SIGTERM', '~.'] as const) {
      await using person = new Person(team, 'shell', 'web1')
      await person.sees(/[#$] $/)
      person.type(`echo $$ > shell.pid; sleep 600\r`)
      await person.sees(/sleep 600/)
      const file = join(team.root('web1'), 'shell.pid')
      for (const deadline = Date.now() + 10_000; !existsSync(file); await delay(20)) assert.ok(Date.now() < deadline)
      const pid = readFileSync(file, 'utf8').trim()
      if (end === 'SIGTERM') process.kill(person.dploy, 'SIGTERM')
      else person.type('\r~.')
      assert.equal(await person.code(), 255)
      person.restored()
      for (const deadline = Date.now() + 10_000; existsSync(`/proc/${pid}/cmdline`); await delay(20))
        assert.ok(Date.now() < deadline, 'the shell on the server still runs')
      rmSync(file)
    }
  })

  test('says what is wrong without a terminal, and with a server that is not there', async () => {
    const piped = await team.dploy('shell', 'web1')
    assert.match(piped.stderr, /shell\.needs_terminal/)
    await using person = new Person(team, 'shell', 'web9')
    await person.sees(/There is no server web9|names no server web9/)
    assert.equal(await person.code(), 1)
    person.restored()
  })

  test('is in the record', async () => {
    const { runs } = await team.client.call('runs', {
      params: { application: 'shop', environment: 'production' },
      query: {},
    })
    assert.ok(runs.length > 0 && runs.every((run) => run.kind === 'shell' && run.finishedAt !== null))
    assert.equal(runs.at(-1)!.outcomes[0]!.code, 7)
  })
})

test(
  'python3 makes the terminal where script(1) is not, and where neither is, that is said',
  { skip: existsSync('/usr/bin/python3') ? false : 'needs /usr/bin/python3' },
  async () => {
    const directory = mkdtempSync(join(tmpdir(), 'dploy-pty-'))
    try {
      symlinkSync('/usr/bin/python3', join(directory, 'python3'))
      const { file, args } = terminalProgram([directory])
      const child = spawn(file, args, {
        env: { PATH: '/usr/bin:/bin', DPLOY_COLUMNS: '77', DPLOY_ROWS: '11', DPLOY_SHELL: '/bin/sh', TERM: 'xterm' },
        stdio: ['pipe', 'pipe', 'inherit'],
      })
      let shown = ''
      child.stdout.on('data', (chunk: Buffer) => (shown += chunk.toString()))
      child.stdin.write('stty size; exit 5\n')
      const [code] = (await once(child, 'exit')) as [number]
      assert.match(shown, /11 77/)
      assert.equal(code, 5)
      assert.throws(() => terminalProgram(['/nonexistent']), { code: 'shell.no_terminal' })
    } finally {
      rmSync(directory, { recursive: true, force: true })
    }
  },
)
