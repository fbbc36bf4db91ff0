import { useEffect, useState, useSyncExternalStore } from 'react'
import { LiveDeployment } from './live-deployment.ts'
import type { Watched } from './live-server.ts'

/** A deployment that is followed for as long as a page shows it. */
export function useLive(number: number): LiveDeployment {
  const [live, setLive] = useState(() => new LiveDeployment(number))
  useEffect(() => {
    const stop = new AbortController()
    const own = live.number === number && !live.followed ? live : new LiveDeployment(number)
    if (own !== live) setLive(own)
    void own.follow(stop.signal)
    return () => stop.abort()
  }, [number])
  return live
}

/** Draws whoever asks again when this changes. Answers the number of the change. */
export function useWatched(one: Watched): number {
  return useSyncExternalStore(one.subscribe, one.snapshot)
}
