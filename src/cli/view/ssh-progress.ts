import { heedQuestions, isQuestionOpen } from './question.ts'

/**
 * Shows on standard error what servers are given before a deployment begins: one line that is written over on a terminal,
 * a line at the beginning of each where there is none. While ssh asks something there, the line is taken away.
 */
export function showProgress(
  stream: NodeJS.WriteStream = process.stderr,
): (progress: { server: string; what: string; share: number | null }) => void {
  const current = new Map<string, string>()
  const told = new Set<string>()
  let drawn = ''
  const draw = () => {
    const line = [...current.values()].join('  ')
    const fits = isQuestionOpen()
      ? ''
      : line.length < stream.columns
        ? line
        : `${line.slice(0, Math.max(0, stream.columns - 2))}…`
    if (fits === drawn) return
    drawn = fits
    stream.write(`\r\u001b[K${fits}`)
  }
  // For as long as this process lives: there is one connection in it.
  if (stream.isTTY) heedQuestions(draw)
  return ({ server, what, share }) => {
    if (!stream.isTTY) {
      if (!told.has(`${server} ${what}`)) stream.write(`${server} ${what}\n`)
      told.add(`${server} ${what}`)
      return
    }
    if (share === 1) current.delete(server)
    else current.set(server, `${server} ${what}${share === null ? '' : ` ${Math.floor(share * 100)} %`}`)
    draw()
  }
}
