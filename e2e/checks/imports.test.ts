import assert from 'node:assert/strict'
import { globSync, readFileSync } from 'node:fs'
import { dirname, join, relative } from 'node:path'
import { test } from 'node:test'

const top = join(import.meta.dirname, '../..')

/** Which part may import which: the table of ARCHITECTURE.md. */
const allowed: Record<string, readonly string[]> = {
  protocol: [],
  agent: ['protocol'],
  balancers: ['protocol'],
  ssh: ['protocol'],
  control: ['protocol', 'balancers', 'ssh'],
  client: ['protocol'],
  cli: ['protocol', 'client', 'ssh'],
  web: ['protocol', 'client'],
}

/** What to do instead, by the part that was imported. */
const instead: Record<string, string> = {
  control: 'ask the control plane through the client; only src/cli/embed.ts may start one in-process',
  agent: 'send the agent a message (src/protocol/agent-messages.ts), or start it as a program',
  balancers: 'let the control plane talk to the balancer',
  client: 'move what is shared to src/protocol',
  cli: 'move what is shared to src/protocol',
  ssh: 'go through the control plane or the CLI',
}

test('every part imports only what it may', () => {
  for (const file of globSync('src/*/**/*.{ts,tsx}', { cwd: top })) {
    const part = file.split('/')[1]!
    const text = readFileSync(join(top, file), 'utf8')
    for (const [, specifier] of text.matchAll(/(?:from|import)\s*\(?\s*'(\.[^']+)'/g)) {
      const target = relative(top, join(top, dirname(file), specifier!))
      const other = target.split('/')[1]!
      if (!target.startsWith('src/') || other === part) continue
      if (file === 'src/cli/embed.ts' && other === 'control') continue
      assert.ok(
        allowed[part]!.includes(other),
        `${file} imports ${target}, but ${part}/ may import only ${allowed[part]!.join(', ') || 'nothing of ours'}. Instead: ${instead[other] ?? 'move it'}.`,
      )
    }
  }
})
