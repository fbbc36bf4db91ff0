/** A line that a program printed: its colours as classes, what is searched for marked, all other control characters left out. */

const escape = '\u001b'
// Sequences that colour, and those that do anything else.
const sequences = new RegExp(`${escape}\\[([\\d;]*)m|${escape}(?:\\[[0-?]*[ -/]*[@-~]|\\][^\\u0007]*\\u0007|.)`, 'g')
const controls = /[\u0000-\u0008\u000b-\u001f\u007f]/g

export interface Piece {
  text: string
  className: string
  /** Of the 256 and the true colours: those of a terminal, not of the page. */
  color?: string | undefined
  background?: string | undefined
}

/** What a terminal shows of a line that goes back to its begin: the later text lies over the earlier. Longer ones are taken as they are. Characters. */
const mostOver = 20_000

/** A line of pieces, after its carriage returns were obeyed. */
export function piecesOf(whole: string): Piece[] {
  const line = whole.replace(/\r+$/, '')
  if (!line.includes('\r') || line.length > mostOver) return coloured(line)
  const cells: { char: string; piece: Piece }[] = []
  let before = ''
  for (const part of line.split('\r')) {
    // A colour lasts until it is changed, also over a carriage return.
    const pieces = coloured(before + part)
    let at = 0
    for (const piece of pieces) for (const char of piece.text) cells[at++] = { char, piece }
    if (part.includes(`${escape}[K`) || part.includes(`${escape}[2K`)) cells.length = at
    before += [...part.matchAll(sequences)].map(([one]) => (one.endsWith('m') ? one : '')).join('')
  }
  const pieces: Piece[] = []
  let last: Piece | null = null
  for (const { char, piece } of cells) {
    const style = pieces.at(-1)
    if (style && (piece === last || sameStyle(piece, style))) style.text += char
    else pieces.push({ ...piece, text: char })
    last = piece
  }
  return pieces
}

function sameStyle(a: Piece, b: Piece): boolean {
  return a.className === b.className && a.color === b.color && a.background === b.background
}

function coloured(line: string): Piece[] {
  if (!line.includes(escape)) return [{ text: line.replaceAll(controls, ''), className: '' }]
  const pieces: Piece[] = []
  let style: Omit<Piece, 'text'> = { className: '' }
  let from = 0
  const add = (text: string) => text !== '' && pieces.push({ text: text.replaceAll(controls, ''), ...style })
  for (const match of line.matchAll(sequences)) {
    add(line.slice(from, match.index))
    from = match.index + match[0].length
    if (match[1] !== undefined) style = styled(style, match[1])
  }
  add(line.slice(from))
  return pieces
}

function styled(before: Omit<Piece, 'text'>, text: string): Omit<Piece, 'text'> {
  const classes = new Set(before.className.split(' ').filter(Boolean))
  let { color, background } = before
  const codes = text.split(';').map(Number)
  const plain = () => {
    for (const one of classes) if (/^a-\d/.test(one)) classes.delete(one)
    color = undefined
  }
  while (codes.length > 0) {
    const code = codes.shift()!
    if (code === 0) {
      classes.clear()
      color = background = undefined
    } else if (code === 1) classes.add('a-bold')
    else if (code === 2) classes.add('a-dim')
    else if (code === 4) classes.add('a-underline')
    else if (code === 22) for (const one of ['a-bold', 'a-dim']) classes.delete(one)
    else if (code === 24) classes.delete('a-underline')
    else if (code === 38 || code === 48) {
      const found = extended(codes)
      if (code === 38) {
        plain()
        color = found
      } else background = found
    } else if (code === 49) background = undefined
    else if ((code >= 30 && code <= 39) || (code >= 90 && code <= 97)) {
      plain()
      if (code !== 39) classes.add(`a-${code >= 90 ? code - 60 : code}`)
    }
  }
  return { className: [...classes].join(' '), color, background }
}

const basic = ['#000000', '#cd3131', '#0dbc79', '#e5e510', '#2472c8', '#bc3fbc', '#11a8cd', '#e5e5e5']
const bright = ['#666666', '#f14c4c', '#23d18b', '#f5f543', '#3b8eea', '#d670d6', '#29b8db', '#ffffff']

/** A colour of ISO 8613-6, `5;N` or `2;R;G;B`, taken off the codes. */
function extended(codes: number[]): string | undefined {
  const kind = codes.shift()
  if (kind === 2) return rgb(codes.splice(0, 3))
  if (kind !== 5) return undefined
  const index = codes.shift() ?? 0
  if (index < 16) return index < 8 ? basic[index] : bright[index - 8]
  // xterm's cube of 6 by 6 by 6, and its greys.
  if (index > 231) return rgb([0, 0, 0].map(() => 8 + (index - 232) * 10))
  const step = (value: number) => (value === 0 ? 0 : 55 + value * 40)
  const at = index - 16
  return rgb([step(Math.floor(at / 36)), step(Math.floor(at / 6) % 6), step(at % 6)])
}

function rgb(parts: readonly number[]): string | undefined {
  return parts.length === 3 && parts.every((part) => part >= 0 && part <= 255) ? `rgb(${parts.join(' ')})` : undefined
}
