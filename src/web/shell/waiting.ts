import { useQuery } from '@tanstack/react-query'
import { queries } from '../api/queries.ts'
import { useWho } from '../api/rights.ts'
import { needsOf } from '../overview/needs.ts'

let count = 0
let title = 'dploy'

function draw(): void {
  document.title = count > 0 ? `(${count}) ${title}` : title
}

/** What the browser's tab says: the page, and how much waits for a person. */
export function setTitle(next: string): void {
  title = next
  draw()
}

/** How much waits for a person; the browser's tab says it too. */
export function useWaiting(): number {
  const rights = useWho()?.rights ?? []
  const { data } = useQuery({ ...queries.overview(false), enabled: rights.length > 0 })
  const now = data ? needsOf(data, rights).length : 0
  if (now !== count) {
    count = now
    draw()
  }
  return now
}
