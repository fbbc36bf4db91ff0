/* oxlint-disable no-control-regex -- taking control characters out is what the expressions here are for */

/** Escape sequences: of the kinds CSI, OSC (with its text) and the like, and of two characters. */
const escapes = /\u001B(?:\[[0-?]*[ -/]*[@-~]|[\]PX^_][^\u0007\u001B]*(?:\u0007|\u001B\\|$)|[ -/]*[0-~])/g
const style = /^\u001B\[[\d;:]*m$/
const controls =
  /[\u0000-\u0009\u000B-\u001A\u001C-\u001F\u007F-\u009F\u2028\u2029\u202A-\u202E\u2066-\u2069]|\u001B(?!\[[\d;:]*m)/g

/** The text as one line that moves nothing: styles stay, line ends and tabs become spaces, other control characters go. Pure. */
export function printable(text: string): string {
  return text
    .replaceAll(escapes, (sequence) => (style.test(sequence) ? sequence : ''))
    .replaceAll(/\r?\n|\t/g, ' ')
    .replaceAll(controls, '')
}

/**
 * What may come from a server, for a person's terminal: line ends, tabs and styles stay, and nothing else that a terminal obeys (it could
 * move the cursor, name the window, or fill the clipboard). A carriage return begins a line of its own, since one could
 * write over the name of the server before it. Pure.
 */
export function harmless(text: string): string {
  return text
    .replaceAll(/\r\n?/g, '\n')
    .replaceAll(escapes, (sequence) => (style.test(sequence) ? sequence : ''))
    .replaceAll(controls, (character) => (character === '\t' ? character : ''))
}

/** The same, each of its lines with an end of the styles that it began. */
export function harmlessLines(text: string): string[] {
  return harmless(text)
    .split('\n')
    .map((line) => (line.includes('\u001B') ? `${line}\u001B[0m` : line))
}
