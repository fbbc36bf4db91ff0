import { execFile } from 'node:child_process'
import { createHash } from 'node:crypto'
import { readdirSync, readFileSync, statSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'

const run = promisify(execFile)
const top = fileURLToPath(new URL('../..', import.meta.url))

/** While it is made: all who need it wait for the same. */
let making: Promise<unknown> | null = null

/** The agent as one file, with its SHA-256: the one that DPLOY_AGENT names, else made anew, in a checkout, when the sources are newer. */
export async function agentBundle(): Promise<{ path: string; content: Buffer; sha256: string }> {
  const given = process.env.DPLOY_AGENT
  const path = given || join(top, 'dist/agent.mjs')
  const made = statSync(path, { throwIfNoEntry: false })?.mtimeMs ?? 0
  if (!given && sources().some((file) => statSync(join(top, file)).mtimeMs > made)) {
    making ??= run(process.execPath, [join(top, 'src/bundle.ts')]).finally(() => (making = null))
    await making
  }
  const content = readFileSync(path)
  return { path, content, sha256: createHash('sha256').update(content).digest('hex') }
}

/** What the agent is made of. Not by a glob, which takes 20 ms before the first connection. */
function sources(): string[] {
  const below = ['src/agent', 'src/protocol'].flatMap((directory) =>
    readdirSync(join(top, directory), { recursive: true, encoding: 'utf8' }).map((name) => join(directory, name)),
  )
  return [
    'src/bundle.ts',
    'src/bundle-builtins.ts',
    ...below.filter((name) => name.endsWith('.ts') && !name.endsWith('.test.ts')),
  ]
}
