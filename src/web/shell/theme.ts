import { useSyncExternalStore } from 'react'

export type Theme = 'system' | 'light' | 'dark'

const key = 'dploy-theme'
const watchers = new Set<() => void>()

export function theme(): Theme {
  const stored = localStorage.getItem(key)
  return stored === 'light' || stored === 'dark' ? stored : 'system'
}

export function setTheme(value: Theme): void {
  if (value === 'system') {
    localStorage.removeItem(key)
    delete document.documentElement.dataset.theme
  } else {
    localStorage.setItem(key, value)
    document.documentElement.dataset.theme = value
  }
  for (const watch of watchers) watch()
}

function subscribe(watch: () => void): () => void {
  const media = matchMedia('(prefers-color-scheme: dark)')
  watchers.add(watch)
  media.addEventListener('change', watch)
  return () => {
    watchers.delete(watch)
    media.removeEventListener('change', watch)
  }
}

export function useTheme(): Theme {
  return useSyncExternalStore(subscribe, theme)
}

/** Whether the page is dark now, whoever decided it. For what draws with colours of its own. */
export function useDark(): boolean {
  return useSyncExternalStore(subscribe, () =>
    theme() === 'system' ? matchMedia('(prefers-color-scheme: dark)').matches : theme() === 'dark',
  )
}
