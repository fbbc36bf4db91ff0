import { spawn } from 'node:child_process'
import { globSync, readFileSync } from 'node:fs'
import { availableParallelism } from 'node:os'
import { relative } from 'node:path'
import { run } from 'node:test'
import { spec } from 'node:test/reporters'

/** All of it has to be over by then. Milliseconds. */
const bound = 40 * 60_000

/** A suite that is skipped does not say which tests it has: their names are read from its file; one that stands for a table of cases is named once. */
function testsOf(event: { name: string; file?: string | undefined; line?: number | undefined; details: { type?: string | undefined } }): string[] {
  if (event.details.type !== 'suite' || event.file === undefined || event.line === undefined) return [event.name]
  const lines = readFileSync(event.file, 'utf8').split('\n').slice(event.line - 1)
  const end = lines.findIndex((line) => line.startsWith('})'))
  const names = [...lines.slice(0, end < 0 ? undefined : end).join('\n').matchAll(/\btest\(\s*(['"`])((?:\\.|(?!\1)[^\\])*)\1/g)].map((found) => found[2]!)
  return names.length === 0 ? [event.name] : names.map((name) => `${event.name}: ${name}`)
}

/** So many files are named by how long they took. */
const slowest = 25

interface Count {
  passed: number
  failed: string[]
  skipped: string[]
}

const count: Count = { passed: 0, failed: [], skipped: [] }
const times: { file: string; ms: number }[] = []
const words = process.argv.slice(2)
const began = performance.now()
const abort = new AbortController()
const timer = setTimeout(() => {
  process.stdout.write(`\nThe tests were not over after ${bound / 60_000} minutes; they are ended.\n`)
  count.failed.push('the whole: took too long')
  abort.abort()
  // Children that do not end by themselves are not waited for longer than this.
  setTimeout(() => finish(), 15_000)
}, bound)

await main()
finish()

/** Type check, lint, unit tests and what waits more than it works side by side, then what measures or has a fleet, one file at a time. */
async function main(): Promise<void> {
  if (words.length === 0) {
    await program('type check', 'node_modules/.bin/tsc', ['--noEmit'])
    await program('lint', 'node_modules/.bin/oxlint', ['--quiet'])
  }
  const files = globSync('{src,e2e,bench}/**/*.test.ts').filter((file) => words.length === 0 || words.some((word) => file.includes(word))).sort()
  const isWhole = (file: string) => file.startsWith('e2e/') && !file.startsWith('e2e/checks/')
  await tests(files.filter((file) => !isWhole(file)), Math.max(2, availableParallelism()))
  await tests(files.filter((file) => isWhole(file) && !isAlone(file)), Math.max(2, availableParallelism()))
  await tests(files.filter((file) => isWhole(file) && isAlone(file)), 1)
}

/** A file that starts a fleet, a demo or a browser uses the whole machine; another one that measures says so itself, in these words. */
function isAlone(file: string): boolean {
  const text = readFileSync(file, 'utf8')
  return /import \{[^}]*\b(World|Fleet|unavailable|openBrowser|startDemo)\b[^}]*\} from/.test(text) || text.includes('// Needs the machine to itself')
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

async function tests(files: string[], concurrency: number): Promise<void> {
  if (files.length === 0 || abort.signal.aborted) return
  const stream = run({ files, concurrency, signal: abort.signal, timeout: 600_000 })
  stream.on('test:pass', (event) => {
    const why = typeof event.skip === 'string' && event.skip !== '' ? ` (${event.skip})` : ''
    if (event.skip !== undefined) count.skipped.push(...testsOf(event).map((name) => `${name}${why}`))
    else if (event.details.type !== 'suite') count.passed++
  })
  stream.on('test:fail', (event) => {
    if (event.details.type === 'suite' && (event.details.error as { failureType?: string }).failureType === 'subtestsFailed') return
    count.failed.push(`${event.file ?? ''}: ${event.name}`)
  })
  stream.on('test:summary', ({ file, duration_ms: ms }) => {
    if (file !== undefined) times.push({ file: relative(process.cwd(), file), ms })
  })
  const text = stream.compose(new spec())
  for await (const chunk of text) process.stdout.write(chunk as string)
}

function finish(): never {
  clearTimeout(timer)
  times.sort((a, b) => b.ms - a.ms)
  if (times.length > 3) process.stdout.write(`\nThe slowest files, in seconds:\n${times.slice(0, slowest).map(({ file, ms }) => `  ${(ms / 1000).toFixed(1).padStart(6)} ${file}\n`).join('')}`)
  if (count.skipped.length > 0) process.stdout.write(`\nSkipped:\n${count.skipped.map((name) => `  ${name}\n`).join('')}`)
  if (count.failed.length > 0) process.stdout.write(`\nFailed:\n${count.failed.map((name) => `  ${name}\n`).join('')}`)
  process.stdout.write(`\nin ${Math.round((performance.now() - began) / 1000)} s\n${count.passed} passed, ${count.failed.length} failed, ${count.skipped.length} skipped\n`)
  process.exit(count.failed.length === 0 && count.passed > 0 ? 0 : 1)
}
