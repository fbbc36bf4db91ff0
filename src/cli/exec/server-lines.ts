import { styleText } from 'node:util'

/** A line that is longer is shown in parts, so that no memory grows. Bytes. */
const longest = 1024 * 1024
const colors = ['cyan', 'yellow', 'green', 'magenta', 'blue', 'red'] as const

/** The server's name before each of its lines, in a colour of its own. */
export class ServerLabels {
  readonly #servers: string[] = []
  readonly #color: boolean
  #width: number

  constructor(color: boolean, servers: readonly string[] = []) {
    this.#color = color
    this.#servers.push(...servers)
    this.#width = Math.max(0, ...servers.map((server) => server.length))
  }

  of(server: string): string {
    let index = this.#servers.indexOf(server)
    if (index < 0) index = this.#servers.push(server) - 1
    this.#width = Math.max(this.#width, server.length)
    const label = `${server.padEnd(this.#width)} │ `
    return this.#color ? styleText(colors[index % colors.length]!, label, { validateStream: false }) : label
  }
}

/** Cuts what comes in pieces into whole lines, each with its label. Bytes stay as they are, whatever they mean. */
export class LabelledLines {
  readonly #label: string
  /** The beginning of a line that has no end yet, as latin1: a character for each byte. */
  #rest = ''

  constructor(label: string) {
    this.#label = Buffer.from(label).toString('latin1')
  }

  push(bytes: Buffer): Buffer {
    const text = this.#rest + bytes.toString('latin1')
    const end = text.lastIndexOf('\n')
    this.#rest = text.slice(end + 1)
    const whole = end < 0 ? '' : `${this.#label}${text.slice(0, end).replaceAll('\n', `\n${this.#label}`)}\n`
    const lines = Buffer.from(whole, 'latin1')
    return this.#rest.length > longest ? Buffer.concat([lines, this.end()]) : lines
  }

  /** The last line, though it has no end. */
  end(): Buffer {
    if (this.#rest === '') return Buffer.alloc(0)
    const line = Buffer.from(`${this.#label}${this.#rest}\n`, 'latin1')
    this.#rest = ''
    return line
  }
}
