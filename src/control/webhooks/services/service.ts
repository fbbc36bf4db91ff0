import type { Message } from '../push.ts'

/** The headers of a message, by their names in lower case. */
export type Headers = Readonly<Record<string, string | undefined>>

/** How one service signs, numbers and words what it sends. */
export interface Service {
  /** As people call it. */
  title: string
  /** Makes a secret in the form that the service takes. */
  newSecret(): string
  /** Whether the message was signed with the secret. Looks at the bytes as they came. `now` in epoch milliseconds. */
  isSigned(secret: string, headers: Headers, body: Uint8Array, now: number): boolean
  /** The number of the message: the same when it is sent again; null: it has none. */
  deliveryOf(headers: Headers): string | null
  /** What it is about, in the service's words. */
  eventOf(headers: Headers): string
  /** What it says. Throws a ZodError if it is not what the service publishes. */
  read(event: string, payload: unknown): Message
}
