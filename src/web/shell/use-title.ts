import { useEffect } from 'react'
import { setTitle } from './waiting.ts'

/** What the browser's tab says while this page is open. */
export function useTitle(title: string): void {
  useEffect(() => {
    setTitle(`${title} · dploy`)
  }, [title])
}
