import { spawn } from 'node:child_process'
import { globSync } from 'node:fs'
import { availableParallelism } from 'node:os'
import { run } from 'node:test'
import { spec } from 'node:test/reporters'

/** All of it has to be over by then. Milliseconds. */
const bound = 40 * 60_000

interface Count {
  passed: number
  failed: string[]
  skipped: string[]
}

const count: Count = { passed: 0, failed: [], skipped: [] }
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

/** Type check, lint, unit tests side by side, then the end-to-end tests, which use the whole machine, one file at a time. */
async function main(): Promise<void> {
  if (words.length === 0) {
    await program('type check', 'node_modules/.bin/tsc', ['--noEmit'])
    await program('lint', 'node_modules/.bin/oxlint', ['--quiet'])
  }
  const files = globSync('{src,e2e,bench}/**/*.test.ts').filter((file) => words.length === 0 || words.some((word) => file.includes(word))).sort()
  const whole = (file: string) => file.startsWith('e2e/') && !file.startsWith('e2e/checks/')
  await tests(files.filter((file) => !whole(file)), Math.max(2, availableParallelism()))
  await tests(files.filter(whole), 1)
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
    if (event.skip !== undefined) count.skipped.push(`${event.name}${typeof event.skip === 'string' && event.skip !== '' ? ` (${event.skip})` : ''}`)
    else if (event.details.type !== 'suite') count.passed++
  })
  stream.on('test:fail', (event) => {
    if (event.details.type === 'suite' && (event.details.error as { failureType?: string }).failureType === 'subtestsFailed') return
    count.failed.push(`${event.file ?? ''}: ${event.name}`)
  })
  const text = stream.compose(new spec())
  for await (const chunk of text) process.stdout.write(chunk as string)
}

function finish(): never {
  clearTimeout(timer)
  if (count.skipped.length > 0) process.stdout.write(`\nSkipped:\n${count.skipped.map((name) => `  ${name}\n`).join('')}`)
  if (count.failed.length > 0) process.stdout.write(`\nFailed:\n${count.failed.map((name) => `  ${name}\n`).join('')}`)
  process.stdout.write(`\nin ${Math.round((performance.now() - began) / 1000)} s\n${count.passed} passed, ${count.failed.length} failed, ${count.skipped.length} skipped\n`)
  process.exit(count.failed.length === 0 && count.passed > 0 ? 0 : 1)
}
