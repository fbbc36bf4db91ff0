import { resolve } from 'node:path'
import { parseArgs } from 'node:util'
import { version } from '../protocol/product-version.ts'
import { Agent, type AgentOptions } from './agent.ts'
import { Conversations } from './conversations.ts'
import { readInstanceId } from './instance-id.ts'
import { Journal } from './journal.ts'
import { explainRights } from './rights.ts'

/**
 * The agent over standard input and output, for as long as the ssh that started it lives. What it was told to change is
 * finished before it ends; the application runs on. With one command it has one conversation: what it knows then is
 * forgotten, since others may change this server before the next one.
 */
export async function serveStandardStreams(
  args: string[],
  { keeper, log }: Pick<AgentOptions, 'keeper' | 'log'>,
): Promise<void> {
  const { values } = parseArgs({
    args,
    options: {
      state: { type: 'string', default: '/var/lib/dploy' },
      root: { type: 'string', default: '/' },
      access: { type: 'string', default: 'root' },
    },
  })
  const stateDirectory = resolve(values.state)
  // Whoever read the log may be gone.
  process.stderr.on('error', () => {})
  const conversations = new Conversations(process.stdin, process.stdout)
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const)
    process.on(signal, () => conversations.close('the agent stops'))
  const instanceId = await readInstanceId()
  for (let carrier = await conversations.next(); carrier !== null; carrier = await conversations.next()) {
    using journal = new Journal(stateDirectory)
    const agent = new Agent({
      identity: null,
      journal,
      stateDirectory,
      instanceId,
      root: resolve(values.root),
      version: version(),
      keeper,
      quiet: () => conversations.quiet(),
      ...(values.access === 'user' && {
        explain: (error: unknown) => explainRights(error, process.env.DPLOY_SUDO_SAID ?? ''),
      }),
      log,
    })
    await agent.serve(carrier)
    await agent.idle()
    if (agent.isBound) break
  }
}
