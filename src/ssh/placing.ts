import type { Writable } from 'node:stream'
import { gzipSync } from 'node:zlib'
import { DployError } from '../protocol/errors.ts'
import type { BootstrapLine } from './bootstrap.ts'
import type { Destination } from './destination.ts'
import { sshFailure } from './failure.ts'
import { addressOf, compressedRuntime, minimumLibc, runtimeAddress, sendFile } from './runtime.ts'

export interface PlacingOptions {
  /** Where servers download Node, with `{version}` and `{arch}`; `none`: they do not. */
  runtimeAddress?: string | undefined
  /** Told what takes long, while it does. `share` is what is done of it, from 0 to 1; null where nobody knows. */
  onProgress?: ((progress: { server: string; what: string; share: number | null }) => void) | undefined
}

interface Place extends PlacingOptions {
  server: string
  destination: Destination
  stdin: Writable
  bundle: { content: Buffer }
  signal: AbortSignal
}

/** Gives one server what its bootstrap finds missing there. */
export class Placing {
  readonly #place: Place
  /** What the server was told to download, or was sent: each once. */
  readonly #tried = new Set<string>()

  constructor(place: Place) {
    this.#place = place
  }

  /** Answers what the bootstrap said. `stderr` is what came beside it. Throws where the server cannot be helped. */
  async answer(line: BootstrapLine, stderr: string): Promise<void> {
    switch (line.kind) {
      case 'need':
        return line.what === 'agent' ? this.#sendAgent() : this.#giveRuntime(line)
      case 'wrong':
        // A download that went wrong is followed by another `need`.
        if (this.#tried.has(`send ${line.what}`)) throw this.#notWhole(line.what, stderr)
        return
      case 'stop':
        throw this.#cannot(line, stderr)
      case 'sudo':
      case 'ready':
        return
      default:
        line satisfies never
    }
  }

  async #sendAgent(): Promise<void> {
    const { stdin, bundle } = this.#place
    const packed = gzipSync(bundle.content)
    this.#tried.add('send agent')
    stdin.write(`send ${packed.length}\n`)
    stdin.write(packed)
  }

  async #giveRuntime({ arch, libc, tool }: Extract<BootstrapLine, { kind: 'need' }>): Promise<void> {
    const { server, stdin, signal, onProgress } = this.#place
    const [major = 0, minor = 0] = libc.split('.').map(Number)
    if (major < minimumLibc[0] || (major === minimumLibc[0] && minor < minimumLibc[1])) {
      throw new DployError(
        'server.libc_too_old',
        `${server} has ${major === 0 ? 'no glibc' : `glibc ${libc}`}; Node 24 needs ${minimumLibc.join('.')}`,
        { where: server },
      )
    }
    const template = this.#place.runtimeAddress || runtimeAddress
    const address = addressOf(template, arch)
    if (tool !== 'none' && address !== null && !this.#tried.has('fetch')) {
      this.#tried.add('fetch')
      onProgress?.({ server, what: 'downloads Node', share: null })
      stdin.write(`fetch ${address}\n`)
      return
    }
    onProgress?.({ server, what: 'gets Node', share: 0 })
    const { path, bytes } = await compressedRuntime(arch, { template, signal })
    this.#tried.add('send runtime')
    stdin.write(`send ${bytes}\n`)
    try {
      await sendFile(path, stdin, {
        signal,
        onBytes: (sent) => onProgress?.({ server, what: 'gets Node', share: sent / bytes }),
      })
    } catch {
      // The server took no more; what it says next, or ssh, tells why.
      signal.throwIfAborted()
    }
  }

  #notWhole(what: string, stderr: string): DployError {
    const { server, destination } = this.#place
    const failure = sshFailure({ stderr, code: 0, destination, server })
    if (failure.code === 'server.disk_full') return failure
    return new DployError(
      'server.no_runtime',
      `The ${what} did not arrive whole on ${server}${stderr.trim() === '' ? '' : `: ${stderr.trim()}`}`,
      { where: server },
    )
  }

  #cannot({ reason, details }: Extract<BootstrapLine, { kind: 'stop' }>, stderr: string): DployError {
    const { server, destination } = this.#place
    if (reason === 'architecture')
      return new DployError('server.wrong_architecture', `${server} is ${details}`, { where: server })
    const failure = sshFailure({ stderr, code: 0, destination, server })
    if (failure.code === 'server.disk_full') return failure
    return new DployError('server.no_sudo', `${details} cannot be made on ${server}: ${stderr.trim()}`, {
      where: server,
    })
  }
}
