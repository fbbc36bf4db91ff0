import { spawn } from 'node:child_process'
import { once } from 'node:events'

/**
 * Holds the lock of a file among all processes of this machine until disposed. The kernel's own lock, held by a child that ends when
 * this process does, however it ends: no lock outlives its holder, so none is ever broken. Waits at most `patience` ms.
 */
export async function lockFile(path: string, patience = 660_000): Promise<AsyncDisposable> {
  const child = spawn(
    'flock',
    ['--exclusive', '--timeout', String(Math.ceil(patience / 1000)), path, 'sh', '-c', 'echo locked; exec cat'],
    {
      stdio: ['pipe', 'pipe', 'inherit'],
    },
  )
  child.stdin.on('error', () => {})
  const ended = once(child, 'close')
  const locked = await Promise.race([once(child.stdout, 'data').then(() => true), ended.then(() => false)])
  if (!locked) throw new Error(`The lock ${path} was not free within ${patience / 1000} s`)
  return {
    async [Symbol.asyncDispose]() {
      child.stdin.end()
      await ended
    },
  }
}
