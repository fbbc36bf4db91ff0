import type { HelloResult } from '../../protocol/agent-messages.ts'
import { DployError } from '../../protocol/errors.ts'
import { helloText, verifyText } from '../../protocol/signature.ts'
import type { Server } from '../store/servers.ts'
import type { AgentLink } from './agent-link.ts'

const nobody = { application: '', environment: '', epoch: 0 }

/** The key of the server that the agent signed its hello with: while keys change, it signs with the next one too. Null: none. */
export function provenKey(
  server: Server,
  hello: Pick<HelloResult, 'server' | 'signature' | 'nextSignature'>,
  nonce: string,
): string | null {
  const text = helloText(nonce, hello.server)
  const holds = (key: string | null, signature: string | undefined) =>
    key !== null && signature !== undefined && verifyText(key, text, signature)
  if (holds(server.nextPublicKey, hello.nextSignature)) return server.nextPublicKey
  return holds(server.publicKey, hello.signature) || holds(server.publicKey, hello.nextSignature)
    ? server.publicKey
    : null
}

/**
 * Has the agent make a new key: it is taken the next time the agent says hello, which this brings about. Cut off
 * anywhere, the agent holds a key that is known.
 */
export async function rotateKeyOf(link: AgentLink, offer: (publicKey: string) => Promise<void>): Promise<void> {
  const { publicKey } = await link.command(
    'rotate_key',
    { step: 'make' },
    { ...nobody, signal: AbortSignal.timeout(10_000) },
  )
  await offer(publicKey)
  link.close('its key changes')
}

/** Tells the agent that its new key is known; it forgets the old one. Throws as a command does. */
export async function keepNewKey(link: AgentLink): Promise<void> {
  await link.command('rotate_key', { step: 'keep' }, { ...nobody, signal: AbortSignal.timeout(10_000) })
}

/** Why a server is refused whose key two machines hold. */
export function cloned(name: string): DployError {
  return new DployError(
    'agent.key_cloned',
    `Two machines hold the key of ${name}; both are refused until somebody decides`,
    {
      where: name,
      fix: `Find out which is ${name}, then: dploy server rotate-key ${name}, which gives it a new key; or when the other is gone: dploy server unlock ${name}`,
    },
  )
}
