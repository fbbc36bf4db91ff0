/** Whether ssh asks a person something on the terminal of this process. What draws there makes room for it. */
let open: PromiseWithResolvers<void> | null = null
const listeners = new Set<(open: boolean) => void>()

/** A question begins, or was answered. */
export function onQuestion(begins: boolean): void {
  open?.resolve()
  open = begins ? Promise.withResolvers() : null
  for (const listener of listeners) listener(begins)
}

/** Whether nothing may be drawn now. */
export function isQuestionOpen(): boolean {
  return open !== null
}

/** Resolves once nothing is asked. */
export async function answered(): Promise<void> {
  while (open) await open.promise
}

/** Tells of each question that begins or was answered, until it is disposed of. */
export function heedQuestions(listener: (open: boolean) => void): Disposable {
  listeners.add(listener)
  return { [Symbol.dispose]: () => void listeners.delete(listener) }
}
