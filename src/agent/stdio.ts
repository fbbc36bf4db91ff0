import { resolve } from 'node:path'
import { parseArgs } from 'node:util'
import { version } from '../protocol/product-version.ts'
import { streamCarrier } from '../protocol/stream-carrier.ts'
import { Agent, type AgentOptions } from './agent.ts'
import { readInstanceId } from './instance-id.ts'
import { Journal } from './journal.ts'
import { explainRights } from './rights.ts'

/**
 * The agent over standard input and output, for as long as the ssh that started it lives. What it was told to change is
 * finished before it ends; the application runs on.
 */
export async function serveStandardStreams(args: string[], { keeper, log }: Pick<AgentOptions, 'keeper' | 'log'>): Promise<void> {
  const { values } = parseArgs({
    args,
    options: {
      state: { type: 'string', default: '/var/lib/dploy' },
      root: { type: 'string', default: '/' },
      access: { type: 'string', default: 'root' },
    },
  })
  const stateDirectory = resolve(values.state)
  using journal = new Journal(stateDirectory)
  // Whoever read the log may be gone.
  process.stderr.on('error', () => {})
  const agent = new Agent({
    identity: null,
    journal,
    stateDirectory,
    instanceId: await readInstanceId(),
    root: resolve(values.root),
    version: version(),
    keeper,
    ...(values.access === 'user' && { explain: (error: unknown) => explainRights(error, process.env.DPLOY_SUDO_SAID ?? '') }),
    log,
  })
  const carrier = streamCarrier(process.stdin, process.stdout)
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.on(signal, () => carrier.close('the agent stops'))
  await agent.serve(carrier)
  await agent.idle()
}
