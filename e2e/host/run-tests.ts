import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { globSync, mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { availableParallelism, tmpdir } from 'node:os'
import { join, relative } from 'node:path'
import { PassThrough } from 'node:stream'
import { run } from 'node:test'
import { spec, type TestEvent } from 'node:test/reporters'
import { inspect } from 'node:util'
import { unavailable } from '../fleet/fleet.ts'
import { baseRoot } from '../fleet/root.ts'
import { changedFiles, testsThatReach } from './changed.ts'

/** All of it has to be over by then. Milliseconds. */
const bound = 40 * 60_000

/** A suite that is skipped does not say which tests it has: their names are read from its file; one that stands for a table of cases is named once. */
function testsOf(event: {
  name: string
  file?: string | undefined
  line?: number | undefined
  details: { type?: string | undefined }
}): string[] {
  if (event.details.type !== 'suite' || event.file === undefined || event.line === undefined) return [event.name]
  const lines = readFileSync(event.file, 'utf8')
    .split('\n')
    .slice(event.line - 1)
  const end = lines.findIndex((line) => line.startsWith('})'))
  const names = [
    ...lines
      .slice(0, end < 0 ? undefined : end)
      .join('\n')
      .matchAll(/\btest\(\s*(['"`])((?:\\.|(?!\1)[^\\])*)\1/g),
  ].map((found) => found[2]!)
  return names.length === 0 ? [event.name] : names.map((name) => `${event.name}: ${name}`)
}

/** So many files are named by how long they took. */
const slowest = 25
/** So many lines are told again at the end of why a test failed. */
const told = 30

interface Count {
  passed: number
  failed: string[]
  skipped: string[]
}

const count: Count = { passed: 0, failed: [], skipped: [] }
const times: { file: string; ms: number }[] = []
/** In the process for the files with a fleet, which are named after this. */
const isApart = process.argv[2] === '--apart'
/** Only what needs neither fleet nor browser: bin/check. */
const isCheck = process.argv[2] === '--check'
/** Only the tests that reach a changed file: bin/test --changed [COMMIT]. */
const isChanged = process.argv[2] === '--changed'
const words = isCheck || isChanged ? [] : process.argv.slice(isApart ? 3 : 2)
/** Empty at the beginning, as on a new machine: what a cache hides, a newcomer meets. npm keeps its own. */
const caches = isApart ? null : mkdtempSync(join(tmpdir(), 'dploy-caches-'))
if (caches !== null) process.env['XDG_CACHE_HOME'] = caches
const began = performance.now()
const abort = new AbortController()
const timer = setTimeout(() => {
  process.stdout.write(`\nThe tests were not over after ${bound / 60_000} minutes; they are ended.\n`)
  count.failed.push('the whole: took too long')
  abort.abort()
  // Children that do not end by themselves are not waited for longer than this.
  setTimeout(() => finish(), 15_000)
}, bound)

if (isApart) await fleets()
else await main()
finish()

/**
 * The checks that need no test, and unit tests; then whole systems, those with a fleet beside the others; last what measures,
 * one file at a time. Fleets have a network namespace: a browser gives up what it is loading whenever an address of the
 * machine comes or goes.
 */
async function main(): Promise<void> {
  const all = globSync('{src,e2e,bench}/**/*.test.ts').sort()
  const files = isChanged
    ? testsThatReach(changedFiles(process.cwd(), process.argv[3]), all, process.cwd())
    : all.filter((file) => words.length === 0 || words.some((word) => file.includes(word)))
  const isWhole = (file: string) => file.startsWith('e2e/') && !file.startsWith('e2e/checks/')
  const cores = Math.max(2, availableParallelism())
  const units = files.filter((file) => !isWhole(file))
  if (isChanged)
    process.stdout.write(
      `${files.length} of ${all.length} test files reach what changed. Whole systems start dploy as a program: bin/test runs them.\n`,
    )
  // Some units wait for processes and timers: one more than there are cores keeps these busy.
  if (words.length === 0) await Promise.all([programs(), tests(units, isCheck ? cores + 1 : cores)])
  else await tests(units, cores)
  if (isCheck) return
  const whole = files.filter(isWhole)
  const apart = unavailable() === null ? whole.filter((file) => needs(file) === 'fleet') : []
  if (apart.length > 0) {
    // With the network of this machine.
    await baseRoot((line) => process.stdout.write(`${line}\n`))
    const { more, over } = startApart(apart)
    await tests(
      whole.filter((file) => needs(file) !== 'machine' && !apart.includes(file)),
      cores - 1,
    )
    more()
    await over
  } else
    await tests(
      whole.filter((file) => needs(file) !== 'machine'),
      cores,
    )
  await tests(
    whole.filter((file) => needs(file) === 'machine'),
    1,
  )
}

/** What is checked without a test: layout, types and lint. */
async function programs(): Promise<void> {
  await program('format (mend it with: npm run format)', 'node_modules/.bin/prettier', [
    ...['--check', '--cache', '--log-level', 'warn', '.'],
  ])
  await program('types', 'node_modules/.bin/tsc', ['--noEmit'])
  await program('lint', 'node_modules/.bin/oxlint', ['--quiet'])
}

/** Runs files in a process with a network of its own, one at a time; with `more` two. */
function startApart(files: string[]): { more(): void; over: Promise<void> } {
  const again = [process.execPath, import.meta.filename, '--apart', ...files]
  const child = spawn('unshare', ['--net', '--', 'sh', '-c', 'ip link set lo up && exec "$@"', 'sh', ...again], {
    stdio: ['ignore', 'inherit', 'inherit', 'ipc'],
    signal: abort.signal,
  })
  let told = false
  child.on('message', (message) => {
    told = true
    const { count: theirs, times: long } = message as { count: Count; times: typeof times }
    count.passed += theirs.passed
    count.failed.push(...theirs.failed)
    count.skipped.push(...theirs.skipped)
    times.push(...long)
  })
  child.on('error', () => {})
  const over = once(child, 'close').then(
    () => void (told || count.failed.push('the tests with a fleet: their process ended early')),
    (error: Error) => void count.failed.push(`the tests with a fleet: ${error.message}`),
  )
  return { more: () => child.connected && child.send('more'), over }
}

/** The other end of startApart. */
async function fleets(): Promise<void> {
  for (const signal of ['SIGTERM', 'SIGINT'] as const) process.on(signal, () => abort.abort())
  process.on('disconnect', () => abort.abort())
  const more = Promise.withResolvers<void>()
  process.once('message', () => more.resolve())
  await tests(words, 1, more.promise)
  await new Promise<void>((resolve) => process.send!({ count, times }, () => resolve()))
  process.exit()
}

/** What a file of tests has for itself alone while it runs. One that measures says so, in these words. */
function needs(file: string): 'machine' | 'fleet' | 'browser' | null {
  const text = readFileSync(file, 'utf8')
  if (text.includes('// Needs the machine to itself')) return 'machine'
  if (/import \{[^}]*\b(World|Fleet|unavailable)\b[^}]*\} from/.test(text)) return 'fleet'
  return /import \{[^}]*\b(openBrowser|startDemo)\b[^}]*\} from/.test(text) ? 'browser' : null
}

async function program(name: string, file: string, args: string[]): Promise<void> {
  if (abort.signal.aborted) return
  const code = await new Promise<number>((resolve) => {
    const child = spawn(file, args, { stdio: 'inherit', signal: abort.signal })
    child.once('error', () => resolve(1))
    child.once('exit', (status) => resolve(status ?? 1))
  })
  process.stdout.write(`${code === 0 ? '✔' : '✖'} ${name}\n`)
  if (code === 0) count.passed++
  else count.failed.push(name)
}

/** Runs so many files at a time, and one more after `more`: no two with a browser, and two with a fleet only where nothing else is left. Prints each when it is over. */
async function tests(files: string[], concurrency: number, more?: Promise<void>): Promise<void> {
  if (files.length === 0 || abort.signal.aborted) return
  // What most wait for begins first.
  const waiting = (['fleet', 'browser', null, 'machine'] as const).flatMap((need) =>
    files.filter((file) => needs(file) === need),
  )
  const taken: string[] = []
  const report = new PassThrough({ objectMode: true })
  let last: TestEvent | undefined
  const work = async () => {
    for (;;) {
      const free = waiting.findIndex((file) => !taken.includes(needs(file) ?? ''))
      // Where nothing else is left to run beside a fleet, another one: they wait more than they work.
      const at =
        free >= 0 || taken.filter((need) => need === 'fleet').length > 1
          ? free
          : waiting.findIndex((file) => needs(file) === 'fleet')
      const [file] = at < 0 || abort.signal.aborted ? [] : waiting.splice(at, 1)
      if (file === undefined) return
      const need = needs(file) ?? 'nothing'
      taken.push(need)
      const events: TestEvent[] = []
      try {
        for await (const event of run({
          files: [file],
          signal: abort.signal,
          timeout: 600_000,
        }) as AsyncIterable<TestEvent>)
          events.push(event)
      } catch (error) {
        count.failed.push(`${file}: it could not be run: ${(error as Error).message}`)
      }
      taken.splice(taken.indexOf(need), 1)
      for (const event of events) {
        counted(event)
        // The sums of each file are left out; what failed is told once, at the end.
        if (event.type === 'test:summary' && event.data.file === undefined) last = event
        else if (
          event.type !== 'test:diagnostic' ||
          event.data.nesting !== 0 ||
          !/^(tests|suites|pass|fail|cancelled|skipped|todo|duration_ms) /.test(event.data.message)
        )
          report.write(event)
      }
    }
  }
  const printed = (async () => {
    for await (const chunk of report.compose(new spec())) process.stdout.write(chunk as string)
  })()
  const workers = Array.from({ length: concurrency }, work)
  void more?.then(() => workers.push(work()))
  // One may come while the others are awaited.
  for (let index = 0; index < workers.length; index++) await workers[index]
  if (last !== undefined) report.write(last)
  report.end()
  await printed
}

function counted(event: TestEvent): void {
  if (event.type === 'test:pass') {
    const reason = typeof event.data.skip === 'string' && event.data.skip !== '' ? ` (${event.data.skip})` : ''
    if (event.data.skip !== undefined) count.skipped.push(...testsOf(event.data).map((name) => `${name}${reason}`))
    else if (event.data.details.type !== 'suite') count.passed++
  } else if (event.type === 'test:fail') {
    if ((event.data.details.error as { failureType?: string }).failureType === 'subtestsFailed') return
    count.failed.push(
      `${relative(process.cwd(), event.data.file ?? '')}: ${event.data.name}${why(event.data.details.error)}`,
    )
  } else if (event.type === 'test:summary' && event.data.file !== undefined) {
    times.push({ file: relative(process.cwd(), event.data.file), ms: event.data.duration_ms })
  }
}

/** Why a test failed, told again at the end: the reporter tells it at the end of each part. */
function why({ cause, message }: Error): string {
  const lines = inspect(cause ?? message, { depth: 3, breakLength: 160 })
    .split('\n')
    .filter((line) => !/^\s+at .*[( ]node:internal/.test(line))
  return lines
    .slice(0, told)
    .map((line) => `\n      ${line.length > 400 ? `${line.slice(0, 400)}…` : line}`)
    .join('')
}

function finish(): never {
  clearTimeout(timer)
  if (caches !== null) rmSync(caches, { recursive: true, force: true })
  times.sort((a, b) => b.ms - a.ms)
  if (times.length > 3)
    process.stdout.write(
      `\nThe slowest files, in seconds:\n${times
        .slice(0, slowest)
        .map(({ file, ms }) => `  ${(ms / 1000).toFixed(1).padStart(6)} ${file}\n`)
        .join('')}`,
    )
  if (count.skipped.length > 0)
    process.stdout.write(`\nSkipped:\n${count.skipped.map((name) => `  ${name}\n`).join('')}`)
  if (count.failed.length > 0) process.stdout.write(`\nFailed:\n${count.failed.map((name) => `  ${name}\n`).join('')}`)
  process.stdout.write(
    `\nin ${Math.round((performance.now() - began) / 1000)} s\n${count.passed} passed, ${count.failed.length} failed, ${count.skipped.length} skipped\n`,
  )
  process.exit(count.failed.length === 0 && count.passed > 0 ? 0 : 1)
}
