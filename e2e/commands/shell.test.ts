import assert from 'node:assert/strict'
import { spawn, type ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { existsSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, describe, test } from 'node:test'
import { setTimeout as delay } from 'node:timers/promises'
import { terminalOf, terminalProgram } from '../../src/agent/commands/terminal.ts'
import { program, Team } from './team.ts'

const script = '/usr/bin/script'
const reason = !existsSync(script) ? 'needs script(1) of util-linux' : false

/** `dploy shell` in a terminal of its own, with somebody who types. */
class Person implements AsyncDisposable {
  readonly child: ChildProcess
  shown = ''
  readonly #team: Team

  constructor(team: Team, ...args: string[]) {
    this.#team = team
    // Notes how the terminal was set before and after.
    writeFileSync(join(team.directory, 'person.sh'), 'stty cols 90 rows 30; stty -g > before; "$@" ; code=$?; stty -g > after; exit $code\n')
    this.child = spawn(script, ['-q', '-f', '-e', '-c', 'exec sh person.sh "$NODE" "$PROGRAM" shell $ARGS', '/dev/null'], {
      cwd: team.directory,
      env: { ...team.environment, TERM: 'xterm-256color', NODE: process.execPath, PROGRAM: program, ARGS: args.join(' ') },
      stdio: ['pipe', 'pipe', 'inherit'],
      detached: true,
    })
    this.child.stdout!.on('data', (chunk: Buffer) => (this.shown += chunk.toString()))
  }

  type(text: string): void {
    this.child.stdin!.write(text)
  }

  async sees(pattern: RegExp, patience = 20_000): Promise<void> {
    for (const deadline = Date.now() + patience; !pattern.test(this.shown); await delay(20)) {
      if (Date.now() > deadline) assert.fail(`${String(pattern)} was not shown within ${patience} ms:\n${JSON.stringify(this.shown)}`)
    }
  }

  /** The CLI's own process. */
  get dploy(): number {
    const below = (pid: number): number[] => readFileSync(`/proc/${pid}/task/${pid}/children`, 'utf8').trim().split(' ').filter(Boolean).map(Number).flatMap((child) => [child, ...below(child)])
    return below(this.child.pid!).find((pid) => readFileSync(`/proc/${pid}/cmdline`, 'utf8').startsWith(process.execPath))!
  }

  async code(): Promise<number> {
    if (this.child.exitCode === null) await once(this.child, 'exit')
    return this.child.exitCode!
  }

  /** Whether the terminal is as it was. */
  restored(): void {
    assert.equal(readFileSync(join(this.#team.directory, 'after'), 'utf8'), readFileSync(join(this.#team.directory, 'before'), 'utf8'))
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (this.child.exitCode !== null || this.child.signalCode !== null) return
    const exit = once(this.child, 'exit')
    this.child.kill('SIGKILL')
    await exit
  }
}

describe('dploy shell', { skip: reason, concurrency: 1, timeout: 120_000 }, () => {
  let team: Team
  before(async () => {
    team = await Team.up({ servers: 1 })
  })
  after(async () => team?.[Symbol.asyncDispose]())

  test('is a terminal with colours and the size of this one, also when that changes', async () => {
    await using person = new Person(team, 'web1')
    await person.sees(/[#$] $/)
    person.type('stty size; tput colors; tty; echo "<$DPLOY_SERVER>"\r')
    await person.sees(/30 90\s+256\s+\/dev\/pts\/\d+\s+<web1>/)
    const local = terminalOf(person.child.pid!)!
    spawn('stty', ['-F', local, 'cols', '101', 'rows', '44'])
    for (const deadline = Date.now() + 10_000; !/44 101/.test(person.shown) && Date.now() < deadline; await delay(200)) person.type('stty size\r')
    await person.sees(/44 101/)
    person.type(`printf '\\033[31mred\\033[0m\\n'\r`)
    await person.sees(/\u001B\[31mred\u001B\[0m/)
    person.type('exit 7\r')
    assert.equal(await person.code(), 7)
    person.restored()
  })

  test('Ctrl-C goes to what runs there, and not to dploy', async () => {
    await using person = new Person(team, 'web1')
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
    await using person = new Person(team, 'web1')
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
      await using person = new Person(team, 'web1')
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
      for (const deadline = Date.now() + 10_000; existsSync(`/proc/${pid}/cmdline`); await delay(20)) assert.ok(Date.now() < deadline, 'the shell on the server still runs')
      rmSync(file)
    }
  })

  test('says what is wrong without a terminal, and with a server that is not there', async () => {
    const piped = await team.dploy('shell', 'web1')
    assert.match(piped.stderr, /shell\.needs_terminal/)
    await using person = new Person(team, 'web9')
    await person.sees(/There is no server web9|names no server web9/)
    assert.equal(await person.code(), 1)
    person.restored()
  })

  test('is in the record', async () => {
    const { runs } = await team.client.call('runs', { params: { application: 'shop', environment: 'production' }, query: {} })
    assert.ok(runs.length > 0 && runs.every((run) => run.kind === 'shell' && run.finishedAt !== null))
    assert.equal(runs.at(-1)!.outcomes[0]!.code, 7)
  })
})

test('python3 makes the terminal where script(1) is not, and where neither is, that is said', { skip: existsSync('/usr/bin/python3') ? false : 'needs /usr/bin/python3' }, async () => {
  const directory = mkdtempSync(join(tmpdir(), 'dploy-pty-'))
  try {
    symlinkSync('/usr/bin/python3', join(directory, 'python3'))
    const { file, args } = terminalProgram([directory])
    const child = spawn(file, args, { env: { PATH: '/usr/bin:/bin', DPLOY_COLUMNS: '77', DPLOY_ROWS: '11', DPLOY_SHELL: '/bin/sh', TERM: 'xterm' }, stdio: ['pipe', 'pipe', 'inherit'] })
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
})
