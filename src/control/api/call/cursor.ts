import { DployError } from '../../../protocol/errors.ts'

/** Cursors of lists: what the last thing of a page is sorted by, so that what is added meanwhile moves nothing. */

/** The first `limit` of up to `limit + 1` things, and the cursor for what follows them; null: nothing does. */
export function paged<T>(
  things: readonly T[],
  limit: number,
  cursorOf: (last: T) => string | number,
): { page: T[]; next: string | null } {
  const page = things.slice(0, limit)
  return { page, next: things.length > limit ? String(cursorOf(page.at(-1)!)) : null }
}

/** A cursor that is a number; undefined without one. Throws `request.invalid`. */
export function numberCursor(cursor: string | undefined): number | undefined {
  if (cursor === undefined) return undefined
  if (!/^\d{1,15}$/.test(cursor)) throw foreign()
  return Number(cursor)
}

/** A cursor that is a time and an id; undefined without one. Throws `request.invalid`. */
export function timeCursor(cursor: string | undefined): { at: number; id: string } | undefined {
  if (cursor === undefined) return undefined
  const match = /^(\d{1,15})\.([\w-]{1,100})$/.exec(cursor)
  if (!match) throw foreign()
  return { at: Number(match[1]), id: match[2]! }
}

function foreign(): DployError {
  return new DployError('request.invalid', 'cursor is not one that this list answered', {
    where: 'querystring/cursor',
    fix: 'Give back what "next" of the answer before says',
  })
}
