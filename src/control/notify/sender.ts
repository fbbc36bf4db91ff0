import type { NotifyEntry, NotifyKind } from '../../protocol/config/notify.ts'
import type { Notification } from './notification.ts'

/** One notification on its way. */
export interface Parcel<K extends NotifyKind> {
  /** The same each time it is tried. */
  id: string
  told: Notification
  entry: Extract<NotifyEntry, { kind: K }>
  /** The value of the secret that the entry names; null: it names none. */
  secret: string | null
  /** `source` of dploy.yml. */
  source: string
  /** Epoch milliseconds. */
  now: number
}

/** Sends one kind of notification. Throws Undelivered. */
export type Sender<K extends NotifyKind> = (parcel: Parcel<K>) => Promise<void>

/** Why something did not arrive. Its text is shown to people: it holds no secret and nothing that the other end answered at length. */
export class Undelivered extends Error {
  /** `later`: try again. `never`: this one cannot arrive. `gone`: nothing will, and is not wanted (410). */
  readonly again: 'later' | 'never' | 'gone'
  /** How long the other end asks to wait. Milliseconds. */
  readonly wait: number | null

  constructor(message: string, again: 'later' | 'never' | 'gone' = 'later', wait: number | null = null) {
    super(message)
    this.name = 'Undelivered'
    this.again = again
    this.wait = wait
  }
}
