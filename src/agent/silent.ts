import { DployError } from '../protocol/errors.ts'
import { Redactor } from '../protocol/redactor.ts'
import type { StepEvent } from '../protocol/agent-messages.ts'

type Output = Extract<StepEvent, { kind: 'output' }>

/**
 * A command's handler that tells none of these values, in what it prints, in its notes, or in its error. Who sends a command takes out the
 * secrets that it sent; those that only this server keeps it does not know.
 */
export function silent<C extends { step(event: StepEvent): void }>(
  handler: (params: unknown, call: C) => Promise<unknown>,
  values: readonly string[],
): (params: unknown, call: C) => Promise<unknown> {
  if (values.length === 0) return handler
  const redactor = new Redactor()
  redactor.know(values)
  return async (params, call) => {
    const streams = new Map<string, Output>()
    const step = (event: StepEvent): void => {
      if (event.kind === 'note') return call.step({ ...event, text: redactor.whole(event.text) })
      if (event.kind !== 'output') return call.step(event)
      const stream = `${event.source} ${event.stream}`
      streams.set(stream, event)
      const text = redactor.piece(stream, event.text)
      if (text !== '') call.step({ ...event, text })
    }
    try {
      return await handler(params, { ...call, step })
    } catch (error) {
      if (!(error instanceof DployError) || redactor.whole(error.message) === error.message) throw error
      throw new DployError(error.code, redactor.whole(error.message), { where: error.where, fix: error.fix })
    } finally {
      for (const [stream, event] of streams) {
        const text = redactor.flush(stream)
        if (text !== '') call.step({ ...event, text })
      }
    }
  }
}
