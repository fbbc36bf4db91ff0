import { Fragment, type ReactNode } from 'react'
import { piecesOf } from './log-pieces.ts'

/** A line that a program printed, as a terminal shows it, with what is searched for marked. */
export function LogText({ text, search }: { text: string; search: string }): ReactNode {
  return piecesOf(text).map(({ text: piece, className, color, background }, index) => (
    <span
      key={index}
      className={className || undefined}
      style={color || background ? { color, background } : undefined}
    >
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
