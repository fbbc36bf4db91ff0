import { Fragment, type ReactNode } from 'react'

/** A line that a program printed: its colours as classes, what is searched for marked, all other control characters left out. */

const escape = '\u001b'
// Sequences that colour, and those that do anything else.
const sequences = new RegExp(`${escape}\\[([\\d;]*)m|${escape}(?:\\[[0-?]*[ -/]*[@-~]|\\][^\\u0007]*\\u0007|.)`, 'g')
const controls = /[\u0000-\u0008\u000b-\u001f\u007f]/g

interface Piece {
  text: string
  className: string
}

export function piecesOf(line: string): Piece[] {
  if (!line.includes(escape)) return [{ text: line.replaceAll(controls, ''), className: '' }]
  const pieces: Piece[] = []
  let className = ''
  let from = 0
  const add = (text: string) => text !== '' && pieces.push({ text: text.replaceAll(controls, ''), className })
  for (const match of line.matchAll(sequences)) {
    add(line.slice(from, match.index))
    from = match.index + match[0].length
    if (match[1] !== undefined) className = styled(className, match[1])
  }
  add(line.slice(from))
  return pieces
}

function styled(before: string, codes: string): string {
  const classes = new Set(before.split(' ').filter(Boolean))
  for (const code of codes.split(';').map(Number)) {
    if (code === 0) classes.clear()
    else if (code === 1) classes.add('a-bold')
    else if (code === 2) classes.add('a-dim')
    else if ((code >= 30 && code <= 39) || (code >= 90 && code <= 97)) {
      for (const one of classes) if (/^a-\d/.test(one)) classes.delete(one)
      if (code !== 39) classes.add(`a-${code >= 90 ? code - 60 : code}`)
    }
  }
  return [...classes].join(' ')
}

export function LogText({ text, search }: { text: string; search: string }): ReactNode {
  return piecesOf(text).map(({ text: piece, className }, index) => (
    <span key={index} className={className || undefined}>
      {search === '' ? piece : marked(piece, search)}
    </span>
  ))
}

function marked(text: string, search: string): ReactNode {
  const lower = text.toLowerCase()
  const needle = search.toLowerCase()
  const parts: ReactNode[] = []
  let from = 0
  for (let at = lower.indexOf(needle); at >= 0; at = lower.indexOf(needle, from)) {
    parts.push(
      <Fragment key={at}>
        {text.slice(from, at)}
        <mark>{text.slice(at, at + needle.length)}</mark>
      </Fragment>,
    )
    from = at + needle.length
  }
  parts.push(text.slice(from))
  return parts
}
