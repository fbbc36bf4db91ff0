/** What ssh(1) uses too: at the beginning of a line, `~.` gives up a connection that does not answer any more. */
export class EscapeKeys {
  #lineBegins = true
  #tilde = false

  /** What of the typed bytes is to be sent, and whether the person gave up. A tilde waits for the key after it. */
  push(bytes: Uint8Array): { send: Buffer; giveUp: boolean } {
    const send: number[] = []
    for (const byte of bytes) {
      if (this.#tilde) {
        this.#tilde = false
        if (byte === 0x2e) return { send: Buffer.from(send), giveUp: true }
        send.push(0x7e)
        if (byte === 0x7e) {
          this.#lineBegins = false
          continue
        }
      } else if (byte === 0x7e && this.#lineBegins) {
        this.#tilde = true
        continue
      }
      send.push(byte)
      this.#lineBegins = byte === 0x0d || byte === 0x0a
    }
    return { send: Buffer.from(send), giveUp: false }
  }
}
