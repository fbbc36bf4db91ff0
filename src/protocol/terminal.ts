import sliceAnsi from 'slice-ansi'
import stringWidth from 'string-width'
import { printable } from './control-characters.ts'

/**
 * Text in a terminal's columns. Widths are columns, not characters: wide characters take two, styles none. Pure.
 */

export type Align = 'left' | 'right'

export { printable }

const longest = 4_096

/**
 * The text in at most `width` columns on one line; what is too long ends in `…`. Styles stay, and are closed. Whatever else
 * could move the cursor is taken out, since texts come from other people's programs.
 */
export function fit(text: string, width: number): string {
  if (width <= 0) return ''
  // A line of a megabyte would take seconds to measure, of which nobody sees more than its beginning.
  const line = printable(text.slice(0, longest + width * 8))
  return stringWidth(line) <= width ? line : `${sliceAnsi(line, 0, width - 1)}…`
}

/** The text in exactly `width` columns: cut like `fit`, or filled with spaces. */
export function cell(text: string, width: number, align: Align = 'left'): string {
  const line = fit(text, width)
  const space = ' '.repeat(Math.max(0, width - stringWidth(line)))
  return align === 'left' ? line + space : space + line
}

/** Each row as one line, its cells in columns of these widths. The last column is not filled with spaces. */
export function columns(
  rows: readonly (readonly string[])[],
  widths: readonly number[],
  options: { gap?: number; align?: readonly Align[] } = {},
): string[] {
  const gap = ' '.repeat(options.gap ?? 2)
  return rows.map((row) =>
    widths
      .map((width, index) => cell(row[index] ?? '', width, options.align?.[index]))
      .join(gap)
      .trimEnd(),
  )
}

/**
 * Widths in which the rows' cells fit; where they are together more than `total` columns, the widest are made narrower
 * first, none under `least`.
 */
export function columnWidths(
  rows: readonly (readonly string[])[],
  total: number,
  options: { gap?: number; least?: number } = {},
): number[] {
  const count = Math.max(0, ...rows.map((row) => row.length))
  const widths = Array.from({ length: count }, (_, index) =>
    Math.max(0, ...rows.map((row) => stringWidth(printable(row[index] ?? '')))),
  )
  const least = options.least ?? 4
  let over = widths.reduce((sum, width) => sum + width, 0) + (options.gap ?? 2) * Math.max(0, count - 1) - total
  for (; over > 0; over--) {
    const widest = Math.max(...widths)
    if (widest <= least) break
    widths[widths.lastIndexOf(widest)] = widest - 1
  }
  return widths
}

/**
 * The parts one after another, in as many lines of at most `width` columns as it takes. A line that goes on in the next
 * ends with the separator; a part that is longer than a line is cut.
 */
export function flow(parts: readonly string[], separator: string, width: number): string[] {
  const open = separator.trimEnd()
  const lines: string[] = []
  for (const [index, part] of parts.entries()) {
    const end = index < parts.length - 1 ? stringWidth(open) : 0
    const last = lines.at(-1)
    const joined = last === undefined ? '' : `${last}${separator}${part}`
    if (last === undefined) lines.push(fit(part, width - end))
    else if (stringWidth(joined) + end <= width) lines[lines.length - 1] = joined
    else {
      lines[lines.length - 1] = last + open
      lines.push(fit(part, width - end))
    }
  }
  return lines
}

/** The whole text in as many lines of at most `width` columns as it takes, broken between words; within one that is longer than a line. */
export function wrap(text: string, width: number): string[] {
  const most = Math.max(1, width)
  const words = printable(text)
    .split(' ')
    .flatMap((word) =>
      stringWidth(word) <= most
        ? [word]
        : [...word.matchAll(new RegExp(`.{1,${most}}`, 'gsu'))].map(([piece]) => piece),
    )
  return flow(words, ' ', most)
}

/** Rows in columns as wide as their content, within `total`; cells that do not fit are cut. */
export function table(rows: readonly (readonly string[])[], total: number): string[] {
  return columns(rows, columnWidths(rows, total)).map((line) => line.trimEnd())
}
