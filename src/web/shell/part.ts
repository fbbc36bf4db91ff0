import { lazy, type ComponentType } from 'react'
import { connection } from '../api/connection.ts'

const key = 'dploy-loaded-anew'
/** The page is not loaded anew by itself more often than this. Milliseconds. */
const apart = 60_000

/**
 * A part of the pages that is loaded when it is opened. An open page asks for parts of its own version; when the control
 * plane has another one since, they are gone, and the page is loaded anew, which keeps its address. While the control plane
 * does not answer it is waited for, and the banner says so. Where loading anew did not help, rendering it throws.
 */
export function part<P>(load: () => Promise<{ default: ComponentType<P> }>) {
  return lazy(() =>
    load().catch(async (cause: unknown) => {
      const last = Number(sessionStorage.getItem(key))
      if (!(await answers())) await back()
      else if (Date.now() - last < apart) throw new Error('A part of this page could not be loaded', { cause })
      sessionStorage.setItem(key, String(Date.now()))
      location.reload()
      return new Promise<never>(() => {})
    }),
  )
}

/** Until the control plane answers again. */
async function back(): Promise<void> {
  connection.lost()
  await new Promise<void>((resolve) => {
    const end = connection.subscribe(() => {
      if (connection.lostSince !== null) return
      end()
      resolve()
    })
  })
}

function answers(): Promise<boolean> {
  return fetch('/', { cache: 'no-store', headers: { accept: 'text/html' } }).then(
    ({ ok }) => ok,
    () => false,
  )
}
