import * as z from 'zod'
import { cutText } from './cut-text.ts'
import { DployError, errorTable, reportOf, type ErrorCode } from './errors.ts'

/**
 * What carries frames: a WebSocket, or standard input and output. `send` resolves when there is room for the next frame
 * (backpressure) and rejects with `connection.closed` when there will never be.
 */
export interface Carrier {
  send(head: unknown, body?: Uint8Array): Promise<void>
  onFrame: (head: unknown, body: Uint8Array) => void
  onClose: (reason: string) => void
  close(reason: string): void
  /** Reads no more until what it answers is called: the other end then has to wait. What was read already may still come. */
  pause(): () => void
}

/** What a handler gets beside its parameters. */
export interface CallContext {
  /** Aborted when the caller cancels or the connection ends. */
  signal: AbortSignal
  /** The binary part of the call; empty if there is none. */
  body: Uint8Array
  /** Sends something to the caller before the result; resolves when there is room for more. */
  emit(event: unknown, body?: Uint8Array): Promise<void>
}

/** What an error from the other end says, is stored and shown: no more of it than a person reads. Characters. */
const longestMessage = 20_000
const longestWord = 2_000

export type Handler = (params: unknown, context: CallContext) => Promise<unknown>

export interface CallOptions {
  signal?: AbortSignal | undefined
  body?: Uint8Array | undefined
  /** Where it answers with a promise, nothing more is read from the connection until that is settled. It may not reject. */
  onEvent?: ((event: unknown, body: Uint8Array) => unknown) | undefined
}

const codes = Object.keys(errorTable) as [ErrorCode, ...ErrorCode[]]
/** The schema of an error that crosses a boundary; a code from a newer peer becomes `internal`. */
export const errorReportSchema = z.object({
  code: z.enum(codes).catch('internal'),
  message: z.string(),
  fix: z.string(),
  where: z.string().optional(),
})

const headSchema = z.discriminatedUnion('kind', [
  z.object({ kind: z.literal('call'), id: z.number().int(), method: z.string().max(100), params: z.unknown() }),
  z.object({ kind: z.literal('event'), id: z.number().int(), event: z.unknown() }),
  z.object({ kind: z.literal('result'), id: z.number().int(), result: z.unknown() }),
  z.object({ kind: z.literal('error'), id: z.number().int(), error: errorReportSchema }),
  z.object({ kind: z.literal('cancel'), id: z.number().int() }),
])
type Head = z.infer<typeof headSchema>

interface PendingCall {
  resolve(result: unknown): void
  reject(error: unknown): void
  onEvent: CallOptions['onEvent']
}

/**
 * One end of a connection. Both ends may call; calls run side by side and are told apart by their id. Closing, by
 * either side, rejects what is pending with `connection.closed` and aborts what is being handled.
 */
export class Peer {
  readonly #carrier: Carrier
  readonly #handlers: ReadonlyMap<string, Handler>
  readonly #pending = new Map<number, PendingCall>()
  readonly #running = new Map<number, AbortController>()
  readonly #most: number
  readonly #closed = Promise.withResolvers<string>()
  #nextId = 1
  #closeReason: string | null = null

  /** `mostCalls`: that many may be under way, with those whose answers are not taken; who asks for more is shown out. */
  constructor(
    carrier: Carrier,
    handlers: ReadonlyMap<string, Handler> | Record<string, Handler>,
    mostCalls = Infinity,
  ) {
    this.#carrier = carrier
    this.#most = mostCalls
    this.#handlers = handlers instanceof Map ? handlers : new Map(Object.entries(handlers as Record<string, Handler>))
    carrier.onFrame = (head, body) => this.#receive(head, body)
    carrier.onClose = (reason) => this.#end(reason)
  }

  /** Resolves with the reason once the connection has ended. */
  get closed(): Promise<string> {
    return this.#closed.promise
  }

  get open(): boolean {
    return this.#closeReason === null
  }

  close(reason: string): void {
    if (this.#closeReason !== null) return
    this.#carrier.close(reason)
    this.#end(reason)
  }

  /** Calls the other end. Rejects with the error it reported, with `connection.closed`, or with the signal's reason. */
  async call(method: string, params: unknown, options: CallOptions = {}): Promise<unknown> {
    options.signal?.throwIfAborted()
    if (this.#closeReason !== null) throw this.#closedError()
    const id = this.#nextId++
    const { promise, resolve, reject } = Promise.withResolvers<unknown>()
    this.#pending.set(id, { resolve, reject, onEvent: options.onEvent })
    const cancel = () => {
      if (!this.#pending.delete(id)) return
      this.#carrier.send({ kind: 'cancel', id } satisfies Head).catch(() => {})
      reject(options.signal?.reason)
    }
    options.signal?.addEventListener('abort', cancel, { once: true })
    try {
      this.#carrier.send({ kind: 'call', id, method, params } satisfies Head, options.body).catch((error: unknown) => {
        if (this.#pending.delete(id)) reject(error)
        // A carrier that is about to close takes nothing any more: whoever asks again must not find this connection open until it says so.
        if (error instanceof DployError && error.code === 'connection.closed') this.close(error.message)
      })
      return await promise
    } finally {
      options.signal?.removeEventListener('abort', cancel)
    }
  }

  #receive(raw: unknown, body: Uint8Array): void {
    if (this.#closeReason !== null) return
    const parsed = headSchema.safeParse(raw)
    if (!parsed.success) return this.close('a frame with an unknown head came')
    const head = parsed.data
    switch (head.kind) {
      case 'call':
        if (this.#running.size >= this.#most) return this.close('it asks for more at once than is answered')
        void this.#handle(head.id, head.method, head.params, body)
        return
      case 'event': {
        const taking = this.#pending.get(head.id)?.onEvent?.(head.event, body)
        if (taking instanceof Promise) void taking.finally(this.#carrier.pause())
        return
      }
      case 'result':
        this.#take(head.id)?.resolve(head.result)
        return
      case 'error':
        this.#take(head.id)?.reject(DployError.from(shortened(head.error)))
        return
      case 'cancel':
        this.#running.get(head.id)?.abort(new DployError('deployment.cancelled', 'The caller cancelled'))
        return
      default:
        head satisfies never
    }
  }

  #take(id: number): PendingCall | undefined {
    const pending = this.#pending.get(id)
    this.#pending.delete(id)
    return pending
  }

  async #handle(id: number, method: string, params: unknown, body: Uint8Array): Promise<void> {
    const controller = new AbortController()
    if (this.#running.has(id)) return this.close('it used the id of a call that is under way')
    this.#running.set(id, controller)
    try {
      const handler = this.#handlers.get(method)
      if (!handler) throw new DployError('protocol.invalid', `There is no method ${JSON.stringify(method)}`)
      const result = await handler(params, {
        signal: controller.signal,
        body,
        emit: (event, eventBody) => this.#carrier.send({ kind: 'event', id, event } satisfies Head, eventBody),
      })
      await this.#carrier.send({ kind: 'result', id, result: result ?? null } satisfies Head)
    } catch (error) {
      await this.#carrier.send({ kind: 'error', id, error: reportOf(error) } satisfies Head).catch(() => {})
    } finally {
      this.#running.delete(id)
    }
  }

  #end(reason: string): void {
    if (this.#closeReason !== null) return
    this.#closeReason = reason
    const error = this.#closedError()
    for (const pending of this.#pending.values()) pending.reject(error)
    this.#pending.clear()
    for (const controller of this.#running.values()) controller.abort(error)
    this.#closed.resolve(reason)
  }

  #closedError(): DployError {
    return new DployError('connection.closed', `The connection ended: ${this.#closeReason ?? 'unknown'}`)
  }
}

function shortened(error: z.infer<typeof errorReportSchema>): z.infer<typeof errorReportSchema> {
  return {
    ...error,
    message: cutText(error.message, longestMessage),
    fix: cutText(error.fix, longestWord),
    ...(error.where === undefined ? {} : { where: cutText(error.where, longestWord) }),
  }
}
