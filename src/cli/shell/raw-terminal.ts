import type { TerminalSize } from '../../protocol/command-messages.ts'

/**
 * The person's terminal, passing on every key as it is typed. It is given back as it was however the program ends: when it
 * is disposed of, on exit, on a signal, on an error that nobody caught (which ends in `exit` too).
 */
export class RawTerminal implements Disposable {
  readonly #restore = () => {
    if (process.stdin.isRaw) process.stdin.setRawMode(false)
  }
  readonly #signals = (['SIGINT', 'SIGTERM', 'SIGHUP', 'SIGQUIT'] as const).map((signal) => ({
    signal,
    listener: () => this.#onSignal(),
  }))
  readonly #onSignal: () => void

  /** `onSignal`: somebody ends this program from outside; keys such as Ctrl-C go to the other side, by `onTyped`. */
  constructor(onSignal: () => void, onTyped: (bytes: Buffer) => void) {
    this.#onSignal = onSignal
    process.once('exit', this.#restore)
    for (const { signal, listener } of this.#signals) process.on(signal, listener)
    process.stdin.setRawMode(true)
    process.stdin.on('data', onTyped)
  }

  [Symbol.dispose](): void {
    this.#restore()
    process.off('exit', this.#restore)
    for (const { signal, listener } of this.#signals) process.off(signal, listener)
    process.stdin.pause()
    process.stdin.removeAllListeners('data')
  }
}

/** How large the person's terminal is now. */
export function terminalSize(): TerminalSize {
  return { columns: Math.max(1, process.stdout.columns || 80), rows: Math.max(1, process.stdout.rows || 24) }
}
