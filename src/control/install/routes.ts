import { createReadStream } from 'node:fs'
import type { FastifyInstance, FastifyRequest } from 'fastify'
import { agentBundle } from '../../ssh/agent-bundle.ts'
import { compressedRuntime, minimumMajor, runtimeAddress, runtimes, type Architecture } from '../../ssh/runtime.ts'
import { DployError } from '../../protocol/errors.ts'
import { installScript } from './script.ts'

/** Adds what a machine needs that is to become a server: the script, the agent and Node. None of it is secret. */
export function addInstallFiles(
  server: FastifyInstance,
  options: { publicUrl: string | null; controlKey: string },
): void {
  server.get('/install.sh', async (request, reply) => {
    const url = options.publicUrl ?? addressAsked(request)
    void reply
      .header('content-type', 'text/x-shellscript; charset=utf-8')
      .header('cache-control', 'no-store')
      .header('x-content-type-options', 'nosniff')
    return currentScript(url, options.controlKey)
  })

  server.get<{ Params: { digest: string } }>('/agents/bundle/:digest.mjs', async (request, reply) => {
    const { sha256, content } = await agentBundle()
    if (request.params.digest !== sha256)
      throw new DployError('not_found', `This control plane has the agent ${sha256} only`, {
        fix: 'Run the script again that it serves now: /install.sh',
      })
    void reply
      .header('content-type', 'text/javascript; charset=utf-8')
      .header('cache-control', 'public, max-age=31536000, immutable')
    return reply.send(content)
  })

  server.get<{ Params: { arch: string } }>('/agents/runtime/linux-:arch.gz', async (request, reply) => {
    const { arch } = request.params
    if (!(arch in runtimes))
      throw new DployError('not_found', `There is no Node for ${arch.slice(0, 30)}`, { fix: 'Use x64 or arm64' })
    const template = process.env.DPLOY_RUNTIME_URL || runtimeAddress
    const { path, bytes } = await compressedRuntime(arch as Architecture, {
      template,
      signal: AbortSignal.timeout(300_000),
    })
    void reply.header('content-type', 'application/gzip').header('content-length', bytes)
    return reply.send(createReadStream(path))
  })
}

/** The script of this version, for servers that dial `url`. */
export async function currentScript(url: string, controlKey: string): Promise<string> {
  const { sha256 } = await agentBundle()
  return installScript({
    url,
    controlKey,
    bundle: sha256,
    runtimes: { x64: runtimes.x64.sha256, arm64: runtimes.arm64.sha256 },
    minimumMajor,
  })
}

/** The address by which this request came, through a proxy that ends TLS or not. Throws `request.invalid`. */
function addressAsked(request: FastifyRequest): string {
  const host = request.headers.host ?? ''
  if (!/^[A-Za-z0-9.-]+(:\d{1,5})?$|^\[[0-9a-fA-F:]+\](:\d{1,5})?$/.test(host))
    throw new DployError('request.invalid', 'The request names no host')
  return `${request.headers['x-forwarded-proto'] === 'https' ? 'https' : 'http'}://${host}`
}
