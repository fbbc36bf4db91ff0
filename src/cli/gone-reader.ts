/** As a shell reports a program that SIGPIPE ended. */
const code = 141

let goesOn = false

/** What is under way is more than its output: it goes on when nobody reads that any more, or the terminal is closed. */
export function goOnUnread(): Disposable {
  const hangUp = () => {}
  // To the end of this process: what was written last is refused after all is over.
  goesOn = true
  process.on('SIGHUP', hangUp)
  return { [Symbol.dispose]: () => void process.off('SIGHUP', hangUp) }
}

/** Ends this process as others end when their reader goes away (`| head`, a pager that is left): in order, without a word. */
export function endUnread(): void {
  let gone = false
  const lost = (error: NodeJS.ErrnoException) => {
    // A terminal that was closed answers EIO.
    if (error.code !== 'EPIPE' && error.code !== 'EIO') throw error
    if (gone || goesOn) return
    gone = true
    process.once('exit', () => (process.exitCode = code))
    // Whoever has to clean up does so at Ctrl-C.
    if (!process.emit('SIGINT', 'SIGINT')) process.exit(code)
  }
  process.stdout.on('error', lost)
  process.stderr.on('error', lost)
}
