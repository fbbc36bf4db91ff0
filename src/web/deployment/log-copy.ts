import type { ClipboardEvent } from 'react'

/** Copies what is chosen of several lines as lines: one each, its parts with a space between. */
export function copyLines(event: ClipboardEvent<HTMLElement>): void {
  const selection = getSelection()
  if (!selection || selection.isCollapsed) return
  const rows = [...event.currentTarget.querySelectorAll<HTMLElement>('.log-line')].filter((row) =>
    selection.containsNode(row, true),
  )
  // A part of one line is copied as it is.
  if (rows.length < 2) return
  // Rows are placed, not ordered: a list that is scrolled uses them anew.
  const top = (row: HTMLElement) => row.getBoundingClientRect().top
  const lines = rows
    .toSorted((a, b) => top(a) - top(b))
    .map((row) =>
      [...row.children]
        .map((part) => part.textContent ?? '')
        .filter(Boolean)
        .join(' '),
    )
  event.clipboardData.setData('text/plain', `${lines.join('\n')}\n`)
  event.preventDefault()
}
