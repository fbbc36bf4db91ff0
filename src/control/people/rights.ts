import { holds, rightOfRole, rightSchema, type Right } from '../../protocol/api/access.ts'
import type { GrantRow } from '../store/people.ts'
import type { ApiToken } from '../store/tokens.ts'

const everywhere = '*'

/** What somebody may do, by environments' ids. A value: nothing is asked of the store. */
export class Rights {
  readonly #at: ReadonlyMap<string, Right>

  private constructor(at: ReadonlyMap<string, Right>) {
    this.#at = at
  }

  static readonly none = new Rights(new Map())
  static readonly all = new Rights(new Map([[everywhere, 'administer']]))

  static ofGrants(grants: readonly GrantRow[]): Rights {
    const at = new Map<string, Right>()
    for (const { role, environment } of grants) {
      const [key, right] = [environment ?? everywhere, rightOfRole[role]]
      const before = at.get(key)
      if (before === undefined || holds(right, before)) at.set(key, right)
    }
    return new Rights(at)
  }

  static ofToken(token: Pick<ApiToken, 'right' | 'environments'>): Rights {
    return new Rights(new Map((token.environments ?? [everywhere]).map((key) => [key, token.right])))
  }

  /** What both let do. */
  and(other: Rights): Rights {
    const at = new Map<string, Right>()
    for (const key of new Set([...this.#at.keys(), ...other.#at.keys()])) {
      const [mine, theirs] = [this.#of(key), other.#of(key)]
      if (mine !== null && theirs !== null) at.set(key, holds(mine, theirs) ? theirs : mine)
    }
    return new Rights(at)
  }

  /** Whether they hold this right in an environment; null: everywhere. */
  may(right: Right, environment: string | null): boolean {
    const held = this.#of(environment ?? everywhere)
    return held !== null && holds(held, right)
  }

  /** Whether they hold it anywhere at all. */
  maySomewhere(right: Right): boolean {
    return [...this.#at.values()].some((held) => holds(held, right))
  }

  /** Ids of the environments in which they hold it; null: in all. */
  environments(right: Right): string[] | null {
    if (this.may(right, null)) return null
    return [...this.#at].filter(([, held]) => holds(held, right)).map(([key]) => key)
  }

  /** Each right that is held, where: an environment's id, or null for everywhere. */
  list(): { right: Right; environment: string | null }[] {
    return [...this.#at].map(([key, right]) => ({ right, environment: key === everywhere ? null : key }))
  }

  #of(key: string): Right | null {
    const [here, overall] = [this.#at.get(key), this.#at.get(everywhere)]
    if (here === undefined || overall === undefined) return here ?? overall ?? null
    return rightSchema.options.findLast((right) => right === here || right === overall)!
  }
}
