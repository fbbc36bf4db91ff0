import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { chmodSync, mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { script } from '../commands/person.ts'
import { program } from '../commands/team.ts'

/** What a person answers to whatever asks: at each match of the first, the second is typed. */
export type Answers = readonly (readonly [RegExp, string])[]

/** A directory for PATH in which `dploy` is this one. */
export function pathWithDploy(directory: string): string {
  const bin = join(directory, 'bin')
  mkdirSync(bin, { recursive: true })
  writeFileSync(join(bin, 'dploy'), `#!/bin/sh\nexec '${process.execPath}' '${program}' "$@"\n`)
  chmodSync(join(bin, 'dploy'), 0o755)
  return `${bin}:${process.env.PATH ?? ''}`
}

/** Types a line into a shell in a terminal, as it was suggested, and answers what is asked for. Answers what was shown, and how it ended. */
export async function typeLine(
  line: string,
  place: { directory: string; environment: NodeJS.ProcessEnv },
  answers: Answers = [],
): Promise<{ code: number | null; shown: string }> {
  const child = spawn(script, ['-q', '-f', '-e', '-c', 'stty -echo cols 200; exec sh -c "$LINE"', '/dev/null'], {
    cwd: place.directory,
    env: { ...place.environment, LINE: line, TERM: 'xterm' },
    stdio: ['pipe', 'pipe', 'inherit'],
    detached: true,
  })
  const exit = once(child, 'exit')
  const limit = setTimeout(() => child.kill('SIGKILL'), 20_000)
  let shown = ''
  let unanswered = ''
  child.stdin.on('error', () => {})
  child.stdout.on('data', (chunk: Buffer) => {
    shown += chunk.toString()
    unanswered += chunk.toString()
    for (const [asked, answer] of answers) {
      if (!asked.test(unanswered)) continue
      unanswered = ''
      child.stdin.write(`${answer}\r`)
    }
  })
  const [code, signal] = (await exit) as [number | null, string | null]
  clearTimeout(limit)
  assert.equal(signal, null, `it did not end within 20 s: ${line}\n${shown}`)
  return { code, shown }
}
