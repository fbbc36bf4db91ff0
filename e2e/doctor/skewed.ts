/** Tells the agent of a server another time than its machine has: the kernel keeps one wall clock for all, in every namespace. */
export const skewed = `const real = Date.now.bind(Date)
const by = Number(process.env.CLOCK_SKEW)
const Real = Date
globalThis.Date = class extends Real {
  constructor(...args) { super(...(args.length === 0 ? [real() + by] : args)) }
  static now() { return real() + by }
}
`
