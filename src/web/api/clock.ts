/** How far this browser's clock is behind the control plane's. Milliseconds. */
let behind = 0

/** What the header `Date` cannot tell: it has whole seconds, and came from somewhere. Milliseconds. */
const blur = 2_500

/** The control plane's time. All times on the pages are its own, so that ages are right whatever the browser's clock says. */
export function now(): number {
  return Date.now() + behind
}

/** Takes the time from an answer that was asked for at `asked`, by this browser's clock. */
export function readClock(answer: Response, asked: number): void {
  const date = Date.parse(answer.headers.get('date') ?? '')
  const got = Date.now()
  // What came from a cache, or took long, tells an older time.
  if (Number.isNaN(date) || answer.headers.has('age') || got - asked > blur) return
  const difference = date + 500 - (asked + got) / 2
  behind = Math.abs(difference) < blur ? 0 : difference
}
