/** What was seen stays, so that nothing is missing between the newest and the older when new ones come. Pure. */
export function merged<T extends { number: number }>(before: readonly T[], now: readonly T[]): T[] {
  const known = new Map(before.map((one) => [one.number, one]))
  for (const one of now) known.set(one.number, one)
  return [...known.values()].sort((a, b) => b.number - a.number)
}
