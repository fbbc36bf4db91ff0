import { styleText } from 'node:util'
import { harmlessLines } from '../../protocol/control-characters.ts'

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

/** Cuts what comes in pieces into whole lines, each with its label. Bytes stay as they are, whatever they mean, where no terminal takes them. */
export class LabelledLines {
  readonly #label: string
  readonly #forTerminal: boolean
  /** The beginning of a line that has no end yet, as latin1: a character for each byte. */
  #rest = ''

  /** `forTerminal`: only what a terminal shows, and not what it obeys. */
  constructor(label: string, forTerminal = false) {
    this.#label = Buffer.from(label).toString('latin1')
    this.#forTerminal = forTerminal
  }

  push(bytes: Buffer): Buffer {
    const text = this.#rest + bytes.toString('latin1')
    const end = text.lastIndexOf('\n')
    this.#rest = text.slice(end + 1)
    const lines = end < 0 ? Buffer.alloc(0) : this.#labelled(text.slice(0, end))
    return this.#rest.length > longest ? Buffer.concat([lines, this.end()]) : lines
  }

  /** The last line, though it has no end. */
  end(): Buffer {
    if (this.#rest === '') return Buffer.alloc(0)
    const line = this.#labelled(this.#rest)
    this.#rest = ''
    return line
  }

  /** Whole lines, the last without its end. */
  #labelled(lines: string): Buffer {
    const shown = this.#forTerminal
      ? Buffer.from(harmlessLines(Buffer.from(lines, 'latin1').toString('utf8')).join('\n')).toString('latin1')
      : lines
    return Buffer.from(`${this.#label}${shown.replaceAll('\n', `\n${this.#label}`)}\n`, 'latin1')
  }
}
