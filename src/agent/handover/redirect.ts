import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { DployError } from '../../protocol/errors.ts'

/**
 * Sends what reaches a port of this server to another one (nft(8), "NAT statements"). Connections are tracked: one that
 * is established stays with the process that took it, whatever is redirected later. A change is one transaction, so
 * that at no moment nothing is redirected.
 */
export class Redirect {
  readonly #table: string

  constructor(application: string, environment: string) {
    this.#table = `dploy_${`${application}_${environment}`.replace(/[^A-Za-z0-9_]/g, '_')}`
  }

  /** Throws `agent.nft_missing` unless redirecting works here. Changes nothing. */
  async check(): Promise<void> {
    await nft(['--check', '--file', '-'], this.#text(9, 10))
  }

  async set(from: number, to: number): Promise<void> {
    await nft(['--file', '-'], this.#text(from, to))
  }

  async remove(): Promise<void> {
    await nft(['--file', '-'], this.#gone)
  }

  get #gone(): string {
    return `add table inet ${this.#table}\ndelete table inet ${this.#table}\n`
  }

  #text(from: number, to: number): string {
    const rule = `fib daddr type local tcp dport ${from} redirect to :${to}`
    return `${this.#gone}table inet ${this.#table} {
  chain prerouting { type nat hook prerouting priority dstnat; policy accept; ${rule}; }
  chain output { type nat hook output priority -100; policy accept; ${rule}; }
}
`
  }
}

async function nft(args: string[], text: string): Promise<void> {
  const child = spawn('nft', args, { stdio: ['pipe', 'ignore', 'pipe'] })
  let printed = ''
  child.stderr.on('data', (chunk: Buffer) => (printed += chunk.toString()))
  child.stdin.on('error', () => {})
  child.stdin.end(text)
  try {
    const [code] = await once(child, 'close')
    if (code === 0) return
  } catch (error) {
    throw missing(
      (error as NodeJS.ErrnoException).code === 'ENOENT' ? 'there is no program nft' : (error as Error).message,
      error,
    )
  }
  throw missing(printed.trim().split('\n')[0] ?? 'nft failed')
}

function missing(why: string, cause?: unknown): DployError {
  return new DployError('agent.nft_missing', `This server cannot redirect a port: ${why}`, { cause })
}
