import * as z from 'zod'

/** Who may do what. One right holds the one before it: who may deploy may read. */

export const rightSchema = z.enum(['read', 'deploy', 'administer'])
export type Right = z.infer<typeof rightSchema>

export const roleSchema = z.enum(['viewer', 'deployer', 'administrator'])
export type Role = z.infer<typeof roleSchema>

/** The right that a role has. */
export const rightOfRole = {
  viewer: 'read',
  deployer: 'deploy',
  administrator: 'administer',
} as const satisfies Record<Role, Right>

const order: readonly Right[] = rightSchema.options

/** Whether who has `held` has `wanted` too. */
export function holds(held: Right, wanted: Right): boolean {
  return order.indexOf(held) >= order.indexOf(wanted)
}

/**
 * What a route asks of its caller: nothing; to be known; to act for oneself, which of tokens only those for administering may,
 * so that one that leaked cannot make others or end sessions; or a right.
 */
export type Access = 'open' | 'known' | 'own' | Right

/**
 * What a right is needed on. It follows from the path, so that no route can forget it: the environment it names, or
 * that of the deployment, run or server it names; else everything there is.
 */
export type Subject = 'environment' | 'deployment' | 'run' | 'server' | 'everything'

export function subjectOf(path: string): Subject {
  if (path.includes('/:application/:environment')) return 'environment'
  if (path.includes('/deployments/:number')) return 'deployment'
  if (path.includes('/runs/:run')) return 'run'
  if (path.includes('/servers/:server')) return 'server'
  return 'everything'
}

/** An environment by its names. */
export const placeSchema = z.object({
  application: z.string().min(1).max(200),
  environment: z.string().min(1).max(200),
})
export type Place = z.infer<typeof placeSchema>

/** A role somewhere; `place` null: everywhere, also in environments yet to come. */
export const grantSchema = z.object({ role: roleSchema, place: placeSchema.nullable() })
export type Grant = z.infer<typeof grantSchema>

/** A right somewhere; `place` null: everywhere. */
export const heldRightSchema = z.object({ right: rightSchema, place: placeSchema.nullable() })
export type HeldRight = z.infer<typeof heldRightSchema>

/** Whether these rights hold `right` at a place; `place` null: everywhere. For pages, which hide what would be refused. */
export function mayAt(rights: readonly HeldRight[], right: Right, place: Place | null): boolean {
  return rights.some(
    (one) =>
      holds(one.right, right) &&
      (one.place === null ||
        (place !== null && one.place.application === place.application && one.place.environment === place.environment)),
  )
}
