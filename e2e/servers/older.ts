import { once } from 'node:events'
import { WebSocket, WebSocketServer } from 'ws'
import { decodeFrame, encodeFrame } from '../../src/protocol/frame.ts'
import { protocolNumber } from '../../src/protocol/version.ts'

/** All that an agent was asked in the first version of the protocol; what came after it is not known to every agent. */
const firstMethods = ['observe', 'stage', 'release_command', 'activate', 'watch', 'check_health', 'collect', 'logs']
/** And all that agents asked for. */
const firstQuestions = ['objects', 'manifest']
/** What hellos and results had in them then. Others: as they are. */
const firstKeys: Record<string, string[]> = {
  hello: ['protocol', 'server', 'signature', 'version', 'platform', 'instance', 'clock'],
  observe: ['current', 'releases', 'service', 'freeBytes'],
  activate: ['already', 'spans', 'service'],
}
const firstServiceKeys = ['state', 'release', 'since', 'pids', 'restarts']

interface Head {
  kind: string
  id: number
  method?: string
  params?: { text?: string }
  result?: Record<string, unknown>
}

/**
 * Stands between an agent and its control plane, and makes each seem to the other to be of the version before: it keeps back what that
 * version did not have, and answers what it did not know as it would have answered. `asked`: what was asked of the agent in vain, and what it asked.
 */
export async function standBetween(url: string): Promise<AsyncDisposable & { url: string; unknown: string[] }> {
  const unknown: string[] = []
  const server = new WebSocketServer({ host: '127.0.0.1', port: 0, perMessageDeflate: false })
  await once(server, 'listening')
  server.on('connection', (agent) => {
    const control = new WebSocket(`${url.replace('http:', 'ws:')}/agents/connect`, { perMessageDeflate: false })
    /** What the control plane asked, by the id of the call. */
    const calls = new Map<number, string>()
    const early: Buffer[] = []
    const refuse = (to: WebSocket, { id }: Head, method: string, code: string, message: string) => {
      unknown.push(method)
      to.send(encodeFrame({ kind: 'error', id, error: { code, message, fix: '' } }))
    }
    control.on('message', (bytes: Buffer) => {
      const { head, body } = decodeFrame(bytes) as { head: Head; body: Uint8Array }
      if (head.kind === 'call') {
        const method =
          head.method === 'command' ? (JSON.parse(head.params!.text!) as { method: string }).method : head.method!
        if (method !== 'hello' && !firstMethods.includes(method))
          return refuse(control, head, method, 'command.refused', 'The command is refused: it cannot be read')
        calls.set(head.id, method)
      }
      agent.send(encodeFrame(head, body))
    })
    agent.on('message', (bytes: Buffer) => {
      const { head, body } = decodeFrame(bytes) as { head: Head; body: Uint8Array }
      if (head.kind === 'call' && !firstQuestions.includes(head.method!))
        return refuse(agent, head, head.method!, 'protocol.invalid', `There is no method "${head.method!}"`)
      const method = head.kind === 'result' ? calls.get(head.id) : undefined
      if (method !== undefined && method in firstKeys) head.result = only(head.result!, firstKeys[method]!)
      if (method === 'hello') head.result!['protocol'] = protocolNumber - 1
      if (method !== undefined && head.result!['service'])
        head.result!['service'] = only(head.result!['service'] as Record<string, unknown>, firstServiceKeys)
      const frame = encodeFrame(head, body)
      if (control.readyState === WebSocket.OPEN) control.send(frame)
      else early.push(frame)
    })
    control.on('open', () => early.forEach((frame) => control.send(frame)))
    for (const [one, other] of [
      [agent, control],
      [control, agent],
    ] as const)
      one.on('close', () => other.terminate()).on('error', () => other.terminate())
  })
  return {
    url: `http://127.0.0.1:${(server.address() as { port: number }).port}`,
    unknown,
    async [Symbol.asyncDispose]() {
      for (const client of server.clients) client.terminate()
      server.close()
      await once(server, 'close')
    },
  }
}

function only(value: Record<string, unknown>, keys: readonly string[]): Record<string, unknown> {
  return Object.fromEntries(Object.entries(value).filter(([key]) => keys.includes(key)))
}
