import { useSyncExternalStore } from 'react'

/** Applications that a person wants on top, kept in this browser. */
const key = 'dploy-favourites'
const watchers = new Set<() => void>()
let known: ReadonlySet<string> = read()

function read(): ReadonlySet<string> {
  try {
    const names = JSON.parse(localStorage.getItem(key) ?? '[]') as unknown
    return new Set(Array.isArray(names) ? names.filter((name) => typeof name === 'string') : [])
  } catch {
    return new Set()
  }
}

export function toggleFavourite(application: string): void {
  const next = new Set(known)
  if (!next.delete(application)) next.add(application)
  known = next
  localStorage.setItem(key, JSON.stringify([...next]))
  for (const watch of watchers) watch()
}

export function useFavourites(): ReadonlySet<string> {
  return useSyncExternalStore(
    (watch) => {
      watchers.add(watch)
      return () => watchers.delete(watch)
    },
    () => known,
  )
}
