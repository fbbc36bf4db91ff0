import { setTimeout as delay } from 'node:timers/promises'
import { DployError } from '../../../protocol/errors.ts'
import type { LockHolder } from '../../../protocol/deployment.ts'
import { lockHeartbeat, type Locks } from '../../store/locks.ts'
import { isDeadHolder } from './holder.ts'

/** How often a waiting deployment looks whether the lock is free. Milliseconds. */
const waitInterval = 250

/** For whom a deployment waits that finds the environment locked: everybody, servers that converge by themselves, nobody. */
export type Patience = 'always' | 'converging' | 'never'

/** Whether to wait for who holds the lock; null: somebody did a moment ago. */
export function waitsFor(patience: Patience, holder: LockHolder | null): boolean {
  return patience === 'always' || (patience === 'converging' && (holder === null || holder.kind === 'converge'))
}

/** The lock of an environment, held: with its heartbeat, and a signal that aborts when it is lost. */
export class Lease implements AsyncDisposable {
  #fence: number
  readonly #locks: Locks
  readonly #environmentId: string
  readonly #lost = new AbortController()
  #timer: NodeJS.Timeout
  readonly #holder: { deploymentId: string; holder: string }

  private constructor(
    locks: Locks,
    environmentId: string,
    fence: number,
    holder: { deploymentId: string; holder: string },
  ) {
    this.#locks = locks
    this.#environmentId = environmentId
    this.#fence = fence
    this.#holder = holder
    this.#timer = setInterval(() => void this.#beat(), lockHeartbeat)
  }

  /** Takes the lock, or waits for it where `wait` says so. Throws `environment.locked`, or the signal's reason. */
  static async acquire(
    locks: Locks,
    environmentId: string,
    deploymentId: string,
    holder: string,
    options: { wait: Patience; signal: AbortSignal },
  ): Promise<Lease> {
    for (;;) {
      options.signal.throwIfAborted()
      try {
        return new Lease(
          locks,
          environmentId,
          await locks.acquire(environmentId, deploymentId, holder, Date.now(), isDeadHolder),
          { deploymentId, holder },
        )
      } catch (error) {
        if (!(error instanceof DployError) || error.code !== 'environment.locked') throw error
        if (!waitsFor(options.wait, await locks.holder(environmentId))) throw error
        // What it throws says nothing of why.
        await delay(waitInterval, undefined, { signal: options.signal }).catch(() => options.signal.throwIfAborted())
      }
    }
  }

  /** The fencing token. */
  get fence(): number {
    return this.#fence
  }

  /** Takes a new token where servers have told of a higher one since. Throws `lock.lost`. */
  async raise(): Promise<void> {
    if ((await this.#locks.fence(this.#environmentId)) <= this.#fence) return
    clearInterval(this.#timer)
    const { deploymentId, holder } = this.#holder
    await this.#locks.heartbeat(this.#environmentId, this.#fence, Date.now())
    this.#fence = await this.#locks.acquire(this.#environmentId, deploymentId, holder, Date.now(), isDeadHolder)
    this.#timer = setInterval(() => void this.#beat(), lockHeartbeat)
  }

  /** Aborts with `lock.lost` once the lock was taken over or forced open. */
  get signal(): AbortSignal {
    return this.#lost.signal
  }

  async [Symbol.asyncDispose](): Promise<void> {
    clearInterval(this.#timer)
    await this.#locks.release(this.#environmentId, this.#fence)
  }

  async #beat(): Promise<void> {
    try {
      await this.#locks.heartbeat(this.#environmentId, this.#fence, Date.now())
    } catch (error) {
      clearInterval(this.#timer)
      this.#lost.abort(error)
    }
  }
}
