import { useEffect, useState, useSyncExternalStore } from 'react'
import { LiveDeployment } from './live-deployment.ts'

/** A deployment that is followed for as long as a page shows it, and the number of its change. */
export function useLive(number: number): { live: LiveDeployment; version: number } {
  const [live, setLive] = useState(() => new LiveDeployment(number))
  useEffect(() => {
    const stop = new AbortController()
    const own = live.number === number && live.version === 0 ? live : new LiveDeployment(number)
    if (own !== live) setLive(own)
    void own.follow(stop.signal)
    return () => stop.abort()
  }, [number])
  const version = useSyncExternalStore(live.subscribe, live.snapshot)
  return { live, version }
}
