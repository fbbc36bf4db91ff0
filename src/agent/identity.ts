import { once } from 'node:events'
import { closeSync, fsyncSync, mkdirSync, openSync, readFileSync, renameSync, writeSync } from 'node:fs'
import { request, type IncomingMessage } from 'node:http'
import { request as requestSecurely } from 'node:https'
import { join } from 'node:path'
import * as z from 'zod'
import { DployError } from '../protocol/errors.ts'
import { proxyFor, connectThrough } from './proxy.ts'
import { newKeyPair, publicKeyOf, readPrivateKey } from '../protocol/signature.ts'

const identitySchema = z.object({
  server: z.string(),
  name: z.string(),
  /** Base URL of the control plane that it joined. */
  control: z.string(),
  /** With which that control plane signs its commands. */
  controlKey: z.string(),
  privateKey: z.string(),
  /** The key that is to replace it. */
  nextPrivateKey: z.string().optional(),
  /** The proxy by which it reached the control plane when it joined. */
  proxy: z.string().optional(),
})
export type Identity = z.infer<typeof identitySchema>

/** Who this agent is: kept in the state directory, readable by its user alone. Null before it joined. */
export function readIdentity(stateDirectory: string): Identity | null {
  let text: string
  try {
    text = readFileSync(join(stateDirectory, 'identity.json'), 'utf8')
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return null
    throw error
  }
  return identitySchema.parse(JSON.parse(text))
}

/**
 * Exchanges a join token for an identity. The key is made here and kept before the token is spent, so that a join that
 * was cut off can be repeated under the same key. Throws `agent.join_refused`, `connection.closed`.
 */
export async function joinControlPlane(options: {
  stateDirectory: string
  control: string
  token: string
  name: string
}): Promise<Identity> {
  mkdirSync(options.stateDirectory, { recursive: true, mode: 0o700 })
  const privateKey = ownKey(options.stateDirectory)
  const proxy = proxyFor(options.control, process.env)
  const answer = await ask(options.control, proxy, {
    token: options.token,
    name: options.name,
    publicKey: publicKeyOf(readPrivateKey(privateKey)),
  })
  const identity: Identity = {
    server: answer.server,
    name: options.name,
    control: options.control,
    controlKey: answer.controlKey,
    privateKey,
    ...(proxy !== null && { proxy }),
  }
  writeDurably(join(options.stateDirectory, 'identity.json'), JSON.stringify(identity))
  return identity
}

/**
 * One step of replacing the key, kept before it is answered. `make`: a key beside the present one, the same when asked
 * again. `keep`: that one alone.
 */
export function rotateKey(
  stateDirectory: string,
  identity: Identity,
  step: 'make' | 'keep',
): { identity: Identity; publicKey: string } {
  if (identity.privateKey === '')
    throw new DployError('command.refused', 'The command is refused: an agent that ssh carries has no key')
  const { nextPrivateKey, ...rest } = identity
  const next: Identity =
    step === 'make'
      ? { ...rest, nextPrivateKey: nextPrivateKey ?? newKeyPair().privateKey }
      : { ...rest, privateKey: nextPrivateKey ?? rest.privateKey }
  writeDurably(join(stateDirectory, 'identity.json'), JSON.stringify(next))
  if (step === 'keep') writeDurably(join(stateDirectory, 'agent-key.pem'), next.privateKey)
  return { identity: next, publicKey: publicKeyOf(readPrivateKey(next.nextPrivateKey ?? next.privateKey)) }
}

function ownKey(stateDirectory: string): string {
  const path = join(stateDirectory, 'agent-key.pem')
  try {
    return readFileSync(path, 'utf8')
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error
    const { privateKey } = newKeyPair()
    writeDurably(path, privateKey)
    return privateKey
  }
}

const answerSchema = z.object({ server: z.string(), controlKey: z.string() })
const problemSchema = z.object({ detail: z.string() })

async function ask(
  control: string,
  proxy: string | null,
  body: { token: string; name: string; publicKey: string },
): Promise<z.infer<typeof answerSchema>> {
  const signal = AbortSignal.timeout(15_000)
  let status: number
  let text: string
  try {
    ;({ status, text } = await post(new URL('/agents/join', control), proxy, JSON.stringify(body), signal))
  } catch (cause) {
    if (cause instanceof DployError) throw cause
    throw new DployError(
      'connection.closed',
      `The control plane at ${control} does not answer: ${(cause as Error).message}`,
      { fix: 'Check the address, and that dploy serve runs there', cause },
    )
  }
  const value = parseOrNull(text)
  if (status !== 200) {
    const problem = problemSchema.safeParse(value)
    throw new DployError(
      'agent.join_refused',
      problem.success ? problem.data.detail : `The control plane answered ${status}`,
    )
  }
  const answer = answerSchema.safeParse(value)
  if (!answer.success)
    throw new DployError('protocol.invalid', `What answers at ${control} is no control plane of dploy`, {
      fix: 'Check the address',
    })
  return answer.data
}

async function post(
  address: URL,
  proxy: string | null,
  body: string,
  signal: AbortSignal,
): Promise<{ status: number; text: string }> {
  const through = proxy === null ? null : await connectThrough(proxy, address, signal)
  const send = address.protocol === 'https:' && !through ? requestSecurely : request
  // An agent, even `false`, would ignore `createConnection` and dial by itself, around the proxy and without TLS.
  const asked = send(address, {
    protocol: through ? 'http:' : address.protocol,
    method: 'POST',
    signal,
    headers: {
      'content-type': 'application/json',
      'content-length': Buffer.byteLength(body),
      host: address.host,
      connection: 'close',
    },
    ...(through ? { createConnection: () => through } : { agent: false }),
  })
  asked.end(body)
  const [response] = (await once(asked, 'response')) as [IncomingMessage]
  let text = ''
  for await (const chunk of response.setEncoding('utf8') as AsyncIterable<string>) {
    text += chunk
    if (text.length > 100_000) throw new Error('it answers too much')
  }
  return { status: response.statusCode ?? 0, text }
}

function parseOrNull(text: string): unknown {
  try {
    return JSON.parse(text)
  } catch {
    return null
  }
}

function writeDurably(path: string, text: string): void {
  const temporary = `${path}.new`
  const file = openSync(temporary, 'w', 0o600)
  writeSync(file, text)
  fsyncSync(file)
  closeSync(file)
  renameSync(temporary, path)
}
