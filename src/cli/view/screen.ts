import { createLogUpdate } from 'log-update'
import type { Output } from '../output.ts'
import { liveLines } from './live.ts'
import type { Progress } from './progress.ts'
import { heedQuestions, isQuestionOpen } from './question.ts'

/** How often the live view is drawn anew. Milliseconds. */
const frameEvery = 80

/** The sequence that shows the cursor (ECMA-48, DECTCEM). */
const showCursor = '\u001b[?25h'

/** Draws a deployment on a terminal, again and again in the same place. While ssh asks something there, the picture is taken away. */
export function startLive(output: Output, progress: Progress, title: string) {
  const update = createLogUpdate(output.stream, { showCursor: false })
  let dirty = true
  const draw = () => {
    if (isQuestionOpen()) return
    update(
      liveLines(progress, {
        width: output.width(),
        height: output.height(),
        color: output.color,
        now: Date.now(),
        title,
      }).join('\n'),
    )
  }
  const heeded = heedQuestions((open) => {
    if (!open) return draw()
    update.clear()
    output.stream.write(showCursor)
  })
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
    heeded[Symbol.dispose]()
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
