export const shownDays = 14

/** A day without deployments is a line, so that the days can be counted; one with any is higher than that. Pixels. */
const least = { none: 1, some: 3 }
/** Few deployments are few to see: a single one does not fill the height. */
const fewest = 4

/** How high the bars of the last days are, the oldest first; `bad` is the lower part of `all`. Pure. */
export function barsOf(
  days: readonly { day: number; all: number; bad: number }[],
  today: number,
  height: number,
): { all: number; bad: number }[] {
  const most = Math.max(fewest, ...days.map(({ all }) => all))
  const known = new Map(days.map((one) => [one.day, one]))
  return Array.from({ length: shownDays }, (_, index) => {
    const { all, bad } = known.get(today - shownDays + 1 + index) ?? { all: 0, bad: 0 }
    const whole = all === 0 ? least.none : Math.max(least.some, (all / most) * height)
    return { all: whole, bad: all === 0 ? 0 : (bad / all) * whole }
  })
}
