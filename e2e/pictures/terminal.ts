// Draws what a terminal shows at the end of a recorded session as an SVG: the picture in README.md.
// script -qec 'stty cols 96 rows 50; bin/dploy demo --once' /tmp/session
// node_modules/.bin/node e2e/pictures/terminal.ts 'Deployment 2' < /tmp/session > docs/images/demo.svg
import { text } from 'node:stream/consumers'

interface Cell {
  character: string
  color: string | null
  bold: boolean
  dim: boolean
}
type Style = Omit<Cell, 'character'>

const plain: Style = { color: null, bold: false, dim: false }
const colors: Record<number, string> = {
  31: '#ff7b72',
  32: '#3fb950',
  33: '#d29922',
  34: '#58a6ff',
  35: '#bc8cff',
  36: '#39c5cf',
}
/** Of one character, in the SVG's units. */
const size = { width: 8.4, height: 19, font: 14, margin: 16 }

/** The lines that stand on the screen in the end. Knows the sequences that dploy prints: colours, and going up and erasing to draw anew. */
function screenOf(session: string): Cell[][] {
  const lines: Cell[][] = [[]]
  let [row, column, style] = [0, 0, plain]
  for (const [token, parameters, final] of session.matchAll(/\u001b\[([\d;?]*)([A-Za-z])|\r|\n|[^\u001b\r\n]/gu)) {
    const count = Number(parameters || 1)
    if (token === '\r') column = 0
    else if (token === '\n') [row, column] = [row + 1, 0]
    else if (final === 'A') row = Math.max(0, row - count)
    else if (final === 'G') column = count - 1
    else if (final === 'K') lines[row] = []
    else if (final === 'm') for (const code of parameters!.split(';')) style = styled(style, Number(code))
    else if (final === undefined) {
      const line = lines[row]!
      while (line.length < column) line.push({ character: ' ', ...plain })
      line[column++] = { character: token, ...style }
    }
    lines[row] ??= []
  }
  return lines
}

function styled(style: Style, code: number): Style {
  if (code === 0) return plain
  if (code === 1) return { ...style, bold: true }
  if (code === 2) return { ...style, dim: true }
  if (code === 22) return { ...style, bold: false, dim: false }
  return { ...style, color: colors[code] ?? null }
}

function svgOf(lines: Cell[][]): string {
  const columns = Math.max(...lines.map((line) => line.length))
  const width = Math.ceil(columns * size.width + 2 * size.margin)
  const height = lines.length * size.height + 2 * size.margin
  return [
    `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${width} ${height}" width="${width}" height="${height}" role="img" aria-label="Terminal: dploy demo">`,
    `<rect width="100%" height="100%" rx="8" fill="#0d1117"/>`,
    `<g font-family="ui-monospace, SFMono-Regular, Menlo, Consolas, 'DejaVu Sans Mono', monospace" font-size="${size.font}" fill="#e6edf3">`,
    ...lines.flatMap((line, row) => runs(line).map((run) => runText(run, row))),
    '</g>',
    '</svg>',
    '',
  ].join('\n')
}

/** Neighbours of one style, so that each is drawn, and placed, as one. */
function runs(line: Cell[]): { at: number; cells: Cell[] }[] {
  const found: { at: number; cells: Cell[] }[] = []
  for (const [at, cell] of line.entries()) {
    const last = found.at(-1)?.cells[0]
    if (last && last.color === cell.color && last.bold === cell.bold && last.dim === cell.dim)
      found.at(-1)!.cells.push(cell)
    else found.push({ at, cells: [cell] })
  }
  return found.filter(({ cells }) => cells.some(({ character }) => character !== ' '))
}

function runText({ at, cells }: { at: number; cells: Cell[] }, row: number): string {
  const { color, bold, dim } = cells[0]!
  const look = [color && ` fill="${color}"`, bold && ' font-weight="bold"', dim && ' opacity="0.6"']
    .filter(Boolean)
    .join('')
  // No-break spaces, since renderers drop plain ones at the ends of a text.
  const escaped = cells
    .map(({ character }) => character)
    .join('')
    .replaceAll(' ', '\u00a0')
    .replaceAll('&', '&amp;')
    .replaceAll('<', '&lt;')
    .replaceAll('>', '&gt;')
  const [x, y] = [size.margin + at * size.width, size.margin + row * size.height + size.font]
  return `<text x="${x.toFixed(1)}" y="${y}" textLength="${(cells.length * size.width).toFixed(1)}"${look}>${escaped}</text>`
}

if (import.meta.main) {
  const lines = screenOf(
    (await text(process.stdin)).replace(/^Script started.*\n/, '').replace(/\n*Script done[\s\S]*$/, ''),
  )
  const from = lines.findLastIndex((line) =>
    line
      .map(({ character }) => character)
      .join('')
      .startsWith(process.argv[2] ?? ''),
  )
  const to = lines.findLastIndex((line) => line.length > 0)
  process.stdout.write(svgOf(lines.slice(Math.max(0, from), to + 1)))
}
