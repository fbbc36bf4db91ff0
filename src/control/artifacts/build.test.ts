import assert from 'node:assert/strict'
import { existsSync, mkdirSync, readdirSync, readFileSync, utimesSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import type { DployError } from '../../protocol/errors.ts'
import { TemporaryArtifacts } from './temporary-artifacts.ts'

/** Resolves when `fact` holds; fails after ten seconds. */
async function until(fact: () => boolean, what: string): Promise<void> {
  for (const deadline = Date.now() + 10_000; !fact(); await sleep(10)) assert.ok(Date.now() < deadline, what)
}

const lives = (pid: number) => {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, 'latin1')
    return !/^[ZX]/.test(stat.slice(stat.lastIndexOf(')') + 2))
  } catch {
    return false
  }
}
const builds = (world: TemporaryArtifacts) => readdirSync(join(world.data, 'builds'))
/** The ids of processes that a build wrote into a file outside. */
const pids = (path: string) => (existsSync(path) ? readFileSync(path, 'utf8').trim().split('\n').map(Number) : [])

test('what the build command makes is shipped, from a clean checkout, with its bits and links', async () => {
  using world = new TemporaryArtifacts()
  world.repository.commit({ 'src/a': 'one', 'b "c"\n': 'odd' })
  world.repository.write('untracked', 'x')
  const built = await world.build(
    world.config({
      command:
        'ls -A > listing; mkdir -p dist/empty; cp src/a dist/a; chmod +x dist/a; ln -s a dist/link; ln -s "$PWD/dist/a" dist/absolute; : > dist/nothing',
    }),
  )
  assert.deepEqual(world.paths(built), [
    'b "c"\n',
    'dist/a',
    'dist/absolute',
    'dist/empty',
    'dist/link',
    'dist/nothing',
    'listing',
    'src/a',
  ])
  assert.equal(world.text(built, 'listing').trim(), 'b "c"\n\nlisting\nsrc')
  const entry = (path: string) => world.entries(built).find((each) => each.path === path)
  assert.deepEqual(entry('dist/empty'), { kind: 'directory', path: 'dist/empty' })
  assert.deepEqual(entry('dist/link'), { kind: 'link', path: 'dist/link', target: 'a' })
  assert.deepEqual(entry('dist/absolute'), { kind: 'link', path: 'dist/absolute', target: 'a' })
  assert.deepEqual(
    { ...entry('dist/a'), digest: '' },
    { kind: 'file', path: 'dist/a', executable: true, size: 3, digest: '' },
  )
  assert.deepEqual(builds(world), [])
  assert.equal(readFileSync(join(world.repository.path, 'untracked'), 'utf8'), 'x')
  assert.ok(!existsSync(join(world.repository.path, 'dist')))
})

test('the environment is clean: what the control plane has in its own is not seen', async (context) => {
  using world = new TemporaryArtifacts()
  process.env.DPLOY_TEST_SECRET = 'do-not-tell'
  process.env.GIT_DIR_OF_TEST = 'x'
  context.after(() => {
    delete process.env.DPLOY_TEST_SECRET
    delete process.env.GIT_DIR_OF_TEST
  })
  const commit = world.repository.commit({ a: '1' })
  const built = await world.build(
    world.config({
      command: 'env > environment; ls -l /proc/self/fd > open',
      variables: { MODE: 'two words; $(touch PWNED)', CI: 'false' },
    }),
  )
  const seen = Object.fromEntries(
    world
      .text(built, 'environment')
      .trim()
      .split('\n')
      .map((line) => [line.slice(0, line.indexOf('=')), line.slice(line.indexOf('=') + 1)]),
  )
  assert.deepEqual(
    Object.keys(seen)
      .filter((name) => !['PWD', 'OLDPWD', 'SHLVL', '_'].includes(name))
      .sort(),
    ['CI', 'DPLOY_APPLICATION', 'DPLOY_REVISION', 'HOME', 'LANG', 'MODE', 'PATH', 'TMPDIR'],
  )
  assert.equal(seen.MODE, 'two words; $(touch PWNED)')
  assert.equal(seen.CI, 'false')
  assert.equal(seen.DPLOY_APPLICATION, 'shop')
  assert.equal(seen.DPLOY_REVISION, commit)
  assert.ok(!world.paths(built).includes('PWNED'))
  assert.ok(!world.text(built, 'open').includes('.db'), 'files of the control plane are closed')
})

test('what it prints is told while it runs', async () => {
  using world = new TemporaryArtifacts()
  const go = join(world.repository.top, 'go')
  world.repository.commit({ a: '1' })
  const building = world.build(
    world.config({
      command: `echo first; echo second >&2; until test -e ${go}; do sleep 0.01; done; printf 'th\\303'; sleep 0.05; printf '\\274rd'`,
    }),
  )
  await until(
    () => world.output.includes('first\n') && world.output.includes('second\n'),
    'the beginning is told before the end',
  )
  assert.ok(!world.output.includes('th'))
  writeFileSync(go, '')
  await building
  assert.ok(world.output.endsWith('thürd'), world.output)
})

test('a build that fails gives its code and its last lines, and leaves nothing', async () => {
  using world = new TemporaryArtifacts()
  world.repository.commit({ a: '1' })
  const failing = world.build(
    world.config({ command: 'for line in $(seq 100); do echo "line $line"; done; echo "it went wrong" >&2; exit 3' }),
  )
  await assert.rejects(failing, (error: DployError) => {
    assert.equal(error.code, 'build.failed')
    assert.match(error.message, /^The build ended with code 3\. It printed last:\n/)
    assert.match(error.message, /line 100/)
    assert.match(error.message, /it went wrong/)
    assert.ok(error.message.split('\n').length <= 11)
    return true
  })
  assert.match(world.output, /^line 1\n/)
  assert.deepEqual(builds(world), [])
  await assert.rejects(world.build(world.config({ command: 'kill -9 $$' })), {
    code: 'build.failed',
    message: 'The build ended with SIGKILL',
  })
  await assert.rejects(world.build(world.config({ command: 'no-such-program-at-all' })), {
    code: 'build.failed',
    message: /code 127.*\n.*no-such-program-at-all/,
  })
  await assert.rejects(world.build(world.config({ command: 'if' })), { code: 'build.failed', message: /yntax error/ })
  await assert.rejects(world.build(world.config({ command: 'rm a' })), { code: 'build.nothing_to_ship' })
  await assert.rejects(world.build(world.config({ command: 'ln -s /etc/passwd out' })), {
    code: 'source.unsafe',
    where: 'out',
  })
  await assert.rejects(world.build(world.config({ command: 'mkfifo pipe' })), { code: 'source.unsafe', where: 'pipe' })
  assert.deepEqual(builds(world), [])
})

test('a build that takes too long is ended with all that it started, also what does not want to', async () => {
  using world = new TemporaryArtifacts()
  const list = join(world.repository.top, 'pids')
  world.repository.commit({ a: '1' })
  const began = Date.now()
  const command = `trap '' TERM; echo $$ >> ${list}; sh -c 'trap "" TERM; echo $$ >> ${list}; while :; do sleep 0.05; done' & sleep 300 & echo $! >> ${list}; echo here; wait; while :; do sleep 0.05; done`
  await assert.rejects(world.build(world.config({ command, timeout: '500ms' })), {
    code: 'build.timeout',
    message: /^The command did not end within 500 ms: trap/,
  })
  assert.ok(Date.now() - began < 6_000)
  assert.ok(pids(list).length === 3 && !pids(list).some(lives), `${pids(list)}`)
  assert.deepEqual(builds(world), [])
})

test('a cancelled build leaves no process and no directory', async () => {
  using world = new TemporaryArtifacts()
  const list = join(world.repository.top, 'pids')
  world.repository.commit({ a: '1' })
  const abort = new AbortController()
  const building = world.build(
    world.config({ command: `echo $$ >> ${list}; sleep 300 & echo $! >> ${list}; echo started; wait` }),
    null,
    abort.signal,
  )
  await until(() => world.output.includes('started'), 'it starts')
  assert.ok(pids(list).every(lives) && builds(world).length === 1)
  abort.abort(new Error('cancelled by Anna'))
  await assert.rejects(building, { message: 'cancelled by Anna' })
  assert.ok(!pids(list).some(lives))
  assert.deepEqual(builds(world), [])
  await assert.rejects(world.build(world.config({ command: 'true' }), null, abort.signal), {
    message: 'cancelled by Anna',
  })
})

test('a build that ends well leaves no process that it started', async () => {
  using world = new TemporaryArtifacts()
  const list = join(world.repository.top, 'pids')
  world.repository.commit({ a: '1' })
  await world.build(world.config({ command: `sleep 300 & echo $! >> ${list}` }))
  assert.equal(pids(list).length, 1)
  assert.ok(!pids(list).some(lives))
})

test('the same tree and definition is built once, also when asked for by eight at a time; another definition is built again', async () => {
  using world = new TemporaryArtifacts()
  const runs = join(world.repository.top, 'runs')
  const count = () => (existsSync(runs) ? readFileSync(runs, 'utf8').length : 0)
  const command = `printf x >> ${runs}; echo "$DPLOY_APPLICATION" > name; sleep 0.1`
  world.repository.commit({ a: '1', b: '2' })
  const config = world.config({ command })
  const all = await Promise.all(Array.from({ length: 8 }, () => world.build(config)))
  assert.equal(count(), 1)
  assert.equal(new Set(all.map(({ artifact }) => artifact)).size, 1)
  assert.deepEqual(await world.build(config), { artifact: all[0]!.artifact, cached: true, read: 0 })
  world.repository.commit({}, 'the same tree in another commit')
  world.reopen()
  assert.equal((await world.build(config)).cached, true)
  assert.equal((await world.build(world.config({ command, timeout: '1h', cache: ['node_modules'] }))).cached, true)
  assert.equal(count(), 1)

  let expected = 1
  for (const [why, changed] of Object.entries({
    'another command': world.config({ command: `${command}; true` }),
    'other files to ship': world.config({ command, ship: ['a', 'name'] }),
    'other files to leave out': world.config({ command, leave_out: ['b'] }),
    'a variable': world.config({ command, variables: { A: '1' } }),
    'its other value': world.config({ command, variables: { A: '2' } }),
    'another application': world.config({ command }, { application: 'other' }),
  })) {
    const built = await world.build(changed)
    assert.equal(count(), ++expected, why)
    assert.equal(world.text(built, 'name').trim(), changed.application)
    assert.equal((await world.build(changed)).cached, true, why)
  }
  world.repository.commit({ a: 'changed' })
  assert.equal((await world.build(config)).cached, false)
  assert.equal(count(), ++expected)
})

test('of several who wait for one build each is told its output, and whoever leaves does not take it along', async () => {
  using world = new TemporaryArtifacts()
  const go = join(world.repository.top, 'go')
  const runs = join(world.repository.top, 'runs')
  world.repository.commit({ a: '1' })
  const config = world.config({
    command: `printf x >> ${runs}; until test -e ${go}; do sleep 0.01; done; echo "some output"`,
  })
  const revision = await world.artifacts.resolve(config, null, null, null, world.signal)
  const outputs = ['', '', '']
  const aborts = outputs.map(() => new AbortController())
  const waiting = outputs.map((_, index) =>
    world.artifacts.build(config, null, revision, {
      signal: aborts[index]!.signal,
      onOutput: (_stream, text) => (outputs[index] += text),
    }),
  )
  await until(() => existsSync(runs), 'it starts')
  aborts[0]!.abort(new Error('cancelled by Anna'))
  await assert.rejects(waiting[0]!, { message: 'cancelled by Anna' })
  writeFileSync(go, '')
  assert.equal((await waiting[1])!.artifact, (await waiting[2])!.artifact)
  assert.deepEqual(outputs, ['', 'some output\n', 'some output\n'])
  assert.equal(readFileSync(runs, 'utf8'), 'x')
})

test('a build that everybody left can be asked for again at once', async () => {
  using world = new TemporaryArtifacts()
  const go = join(world.repository.top, 'go')
  world.repository.commit({ a: '1' })
  const config = world.config({ command: `echo started; until test -e ${go}; do sleep 0.01; done` })
  const abort = new AbortController()
  const left = world.build(config, null, abort.signal)
  await until(() => world.output.includes('started'), 'it starts')
  abort.abort(new Error('cancelled by Anna'))
  writeFileSync(go, '')
  const again = world.build(config)
  await assert.rejects(left, { message: 'cancelled by Anna' })
  assert.equal((await again).cached, false)
})

test('ship and leave_out decide over what the build made', async () => {
  using world = new TemporaryArtifacts()
  world.repository.commit({ 'src/x': '1', 'package.json': '{}' })
  const command =
    'mkdir -p dist/deep node_modules/m .git; touch dist/a.js dist/a.js.map dist/deep/b.map dist/.hidden node_modules/m/x .git/config; mkfifo node_modules/m/pipe'
  const shipped = async (build: Record<string, unknown>) =>
    world.paths(await world.build(world.config({ command, ...build })))
  assert.deepEqual(await shipped({ ship: ['dist', 'package.json'], leave_out: ['*.map'] }), [
    'dist/.hidden',
    'dist/a.js',
    'dist/deep',
    'package.json',
  ])
  assert.deepEqual(await shipped({ leave_out: ['node_modules', 'dist/*', 'src'] }), ['dist', 'package.json'])
  assert.deepEqual(await shipped({ ship: ['dist/deep/b.map'] }), ['dist/deep/b.map'])
  await assert.rejects(shipped({ ship: ['build'] }), { code: 'build.nothing_to_ship' })
})

test('folders named under cache are there in the next build, also after one that failed, and never shared with what was shipped', async () => {
  using world = new TemporaryArtifacts()
  world.repository.commit({ a: '1' })
  const cache = ['.cache/deep', 'shipped']
  const command = (number: number, end = '') =>
    `cat .cache/deep/log 2> /dev/null; mkdir -p .cache/deep shipped; echo ${number} >> .cache/deep/log; echo ${number} >> shipped/log${end}`
  const first = await world.build(world.config({ command: command(1), cache, ship: ['a', 'shipped'] }))
  assert.equal(world.output, '')
  await assert.rejects(world.build(world.config({ command: command(2, '; exit 1'), cache, ship: ['a', 'shipped'] })), {
    code: 'build.failed',
  })
  const third = await world.build(world.config({ command: command(3), cache, ship: ['a', 'shipped'] }))
  assert.equal(world.output, '1\n1\n2\n')
  assert.equal(world.text(first, 'shipped/log'), '1\n')
  assert.equal(world.text(third, 'shipped/log'), '1\n2\n3\n')
  await world.build(world.config({ command: command(4), cache }, { application: 'other' }))
  assert.equal(world.output, '1\n1\n2\n', 'another application has caches of its own')
})

test('builds of one application at the same time keep whole caches', async () => {
  using world = new TemporaryArtifacts()
  world.repository.commit({ a: '1' })
  const config = (number: number) =>
    world.config({
      command: `mkdir -p c; for i in $(seq 50); do echo ${number} > c/$i; done; echo ${number} > made`,
      cache: ['c'],
      ...(number % 2 === 0 ? { ship: ['made'] } : {}),
    })
  for (let round = 0; round < 3; round++)
    await Promise.all(Array.from({ length: 6 }, (_, index) => world.build(config(round * 6 + index))))
  const caches = join(world.data, 'build-caches/shop')
  assert.deepEqual(readdirSync(caches), ['c'])
  const contents = readdirSync(join(caches, 'c')).map((name) => readFileSync(join(caches, 'c', name), 'utf8'))
  assert.equal(contents.length, 50)
  assert.equal(new Set(contents).size, 1, 'of one build')
})

test('directories of builds that a killed control plane left are removed, those of living ones stay', async () => {
  using world = new TemporaryArtifacts()
  world.repository.commit({ a: '1' })
  const directory = join(world.data, 'builds')
  // No process has the highest id that Linux can give (proc_sys_kernel(5), pid_max).
  for (const name of ['4194304-dead/tree', `${process.pid}-before/tree`, `${process.pid}-now`, `${process.ppid}-other`])
    mkdirSync(join(directory, name), { recursive: true })
  utimesSync(join(directory, `${process.pid}-before`), 1, 1)
  await world.build(world.config({ command: 'true' }))
  assert.deepEqual(builds(world).sort(), [`${process.pid}-now`, `${process.ppid}-other`].sort())
})

test('of a built tree only what the build or the commit changed is read again', async () => {
  using world = new TemporaryArtifacts()
  const files = Object.fromEntries(
    Array.from({ length: 600 }, (_, index) => [`folder-${index % 7}/${index}`, `file ${index}\n`]),
  )
  world.repository.commit(files)
  // The second takes the place of a file with as many bytes, and gives it the time that it had.
  const config = world.config({
    command:
      'date +%N > stamp; printf "FILE 7\\n" > other; touch -r folder-0/7 other; cat other > folder-0/7; touch -r other folder-0/7; chmod +x folder-1/8',
  })
  const first = await world.build(config)
  assert.equal(first.read, 602)
  world.repository.commit({ 'folder-2/9': 'another\n' })
  const second = await world.build(config)
  assert.equal(
    second.read,
    5,
    'stamp, other, what was written over, what got another mode, and the one that was committed',
  )
  assert.equal(world.text(second, 'folder-0/7'), 'FILE 7\n')
  assert.equal(world.text(second, 'folder-2/9'), 'another\n')
  assert.equal(
    world.entries(second).find(({ path }) => path === 'folder-1/8')?.kind === 'file' &&
      world.text(second, 'folder-1/8'),
    'file 8\n',
  )
  assert.equal(world.text(second, 'folder-3/10'), 'file 10\n')
})
