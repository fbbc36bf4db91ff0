import { lazy, type ComponentType } from 'react'

const key = 'dploy-loaded-anew'
/** The page is not loaded anew by itself more often than this. Milliseconds. */
const apart = 60_000

/**
 * A part of the pages that is loaded when it is opened. An open page asks for parts of its own version; when the control
 * plane has another one since, they are gone, and the page is loaded anew, which keeps its address. Where that did not help,
 * or the control plane does not answer, rendering it throws.
 */
export function part<P>(load: () => Promise<{ default: ComponentType<P> }>) {
  return lazy(() =>
    load().catch(async (cause: unknown) => {
      const last = Number(sessionStorage.getItem(key))
      if (Date.now() - last < apart || !(await answers()))
        throw new Error('A part of this page could not be loaded', { cause })
      sessionStorage.setItem(key, String(Date.now()))
      location.reload()
      return new Promise<never>(() => {})
    }),
  )
}

function answers(): Promise<boolean> {
  return fetch('/', { cache: 'no-store', headers: { accept: 'text/html' } }).then(
    ({ ok }) => ok,
    () => false,
  )
}
