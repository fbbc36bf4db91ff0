import { spawn } from 'node:child_process'

/**
 * Runs a program for as long as standard input stays open: `tether FILE ARGS…`. Whoever holds the other end may be
 * killed without warning; the program then ends too, and nothing is left running.
 */
function main(): void {
  const [file, ...args] = process.argv.slice(2)
  if (file === undefined) throw new Error('tether: name a program')
  const child = spawn(file, args, { stdio: ['ignore', 'inherit', 'inherit'] })
  const end = () => {
    child.kill('SIGTERM')
    setTimeout(() => child.kill('SIGKILL'), 3_000).unref()
  }
  child.once('error', (error) => {
    process.stderr.write(`${error.message}\n`)
    process.exit(127)
  })
  child.once('exit', (code, signal) => process.exit(signal === null ? (code ?? 1) : 0))
  process.stdin.on('end', end).on('error', end).resume()
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.on(signal, end)
}

if (import.meta.main) main()
