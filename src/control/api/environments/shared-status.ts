import type { ChangeKind } from '../../../protocol/api/changes.ts'
import type { Status } from '../../../protocol/api/environments.ts'
import type { Environment } from '../../store/applications.ts'
import type { ApiContext } from '../context.ts'
import { statusOf } from './status.ts'

/** After which of these an answer of before is none any more. */
const kinds: readonly ChangeKind[] = ['environments', 'deployments', 'servers', 'releases']

interface Answer {
  /** When it was begun, and after which change. */
  asked: number
  cursor: number
  status: Promise<Status>
}

/**
 * What the servers of an environment answer, for several who look at it at the same time: they are asked once. `within` says how old an answer
 * may be (milliseconds; 0: not at all); one from before a change is never given.
 */
export class SharedStatus {
  readonly #context: ApiContext
  readonly #answers = new Map<string, Answer>()

  constructor(context: ApiContext) {
    this.#context = context
  }

  of(environment: Environment, within: number, signal: AbortSignal): Promise<Status> {
    if (within === 0) return statusOf(this.#context, environment, signal)
    const { changes } = this.#context.store
    const known = this.#answers.get(environment.id)
    if (
      known &&
      Date.now() - known.asked <= within &&
      known.cursor >= changes.newestIn(environment.id, kinds) &&
      known.cursor >= changes.newestIn('', kinds)
    )
      return known.status
    // Whoever asked first may go away while others wait for the same answer.
    const status = statusOf(this.#context, environment, new AbortController().signal)
    const answer = { asked: Date.now(), cursor: changes.cursor, status }
    this.#answers.set(environment.id, answer)
    status.catch(() => this.#answers.get(environment.id) === answer && this.#answers.delete(environment.id))
    return status
  }
}
