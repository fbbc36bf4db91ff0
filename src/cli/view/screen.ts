import { createLogUpdate } from 'log-update'
import type { Output } from '../output.ts'
import { liveLines } from './live.ts'
import type { Progress } from './progress.ts'

/** How often the live view is drawn anew. Milliseconds. */
const frameEvery = 80

/** Draws a deployment on a terminal, again and again in the same place. */
export function startLive(output: Output, progress: Progress, title: string) {
  const update = createLogUpdate(output.stream, { showCursor: false })
  let dirty = true
  const draw = () => update(liveLines(progress, { width: output.width(), height: output.height(), color: output.color, now: Date.now(), title }).join('\n'))
  const timer = setInterval(() => {
    if (dirty || progress.ended === null) draw()
    dirty = false
  }, frameEvery)
  draw()
  let finished = false
  const finish = () => {
    if (finished) return
    finished = true
    clearInterval(timer)
    draw()
    update.done()
  }
  return {
    changed: () => void (dirty = true),
    finish,
    async [Symbol.asyncDispose]() {
      finish()
    },
  }
}
