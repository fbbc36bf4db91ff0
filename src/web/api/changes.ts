import type { QueryClient } from '@tanstack/react-query'
import type { Changed } from '../../protocol/api/changes.ts'
import { Refresher } from './refresher.ts'
import { client, session } from './session.ts'

/** The control plane says every two seconds that it is there. Longer silence is a dead connection. Milliseconds. */
const silence = 6_000
/** How often everything is asked for while nobody tells what changed, and how often that is tried again. Milliseconds. */
const fallback = 2_000
/** A page that nobody looks at for so long is told nothing: a browser has few connections for all its tabs. Milliseconds. */
const hiddenFor = 5_000

/**
 * Keeps what pages show up to date: the control plane tells of what kind something changed, and that is asked for again.
 * Without its word everything is asked for every two seconds. Answers how to end it.
 */
export function followChanges(queries: QueryClient): () => void {
  const refresher = new Refresher((queryKey) => queries.invalidateQueries({ queryKey }))
  const ended = new AbortController()
  const everything = () => told.forEach((root) => refresher.changed([root]))
  void follow()
  return () => ended.abort()

  async function follow(): Promise<void> {
    while (!ended.signal.aborted) {
      await visible(ended.signal)
      await listen()
      if (ended.signal.aborted) return
      everything()
      await new Promise((resolve) => setTimeout(resolve, fallback))
    }
  }

  /** Until the stream ends, is silent for too long, or nobody looks at the page. */
  async function listen(): Promise<void> {
    const stop = new AbortController()
    const signal = AbortSignal.any([stop.signal, ended.signal])
    const end = () => stop.abort()
    let fresh = true
    let timer = setTimeout(end, silence)
    let hidden: ReturnType<typeof setTimeout> | undefined
    const look = () => {
      clearTimeout(hidden)
      if (document.visibilityState === 'hidden') hidden = setTimeout(end, hiddenFor)
    }
    document.addEventListener('visibilitychange', look)
    addEventListener('offline', end)
    try {
      for await (const changed of client().stream('watchChanges', { query: { follow: 'true' } }, { signal })) {
        clearTimeout(timer)
        timer = setTimeout(end, silence)
        // What came between the page's first questions and the begin of the stream.
        if (fresh) everything()
        fresh = false
        take(changed)
      }
    } catch {
      // Asked again in a moment; whether the control plane answers at all, is told by connection.ts.
    } finally {
      clearTimeout(timer)
      clearTimeout(hidden)
      document.removeEventListener('visibilitychange', look)
      removeEventListener('offline', end)
    }
  }

  function take({ everything: all, changes }: Changed): void {
    if (all) return everything()
    const keys = new Map<string, readonly unknown[]>()
    for (const change of changes) for (const key of keysOf(change)) keys.set(JSON.stringify(key), key)
    for (const key of keys.values()) refresher.changed(key)
    if (changes.some(({ kind }) => kind === 'session')) void session.look()
  }
}

/** What is told of, by the first words of its keys. */
const told = [
  'environments',
  'overview',
  'status',
  'deployments',
  'deployment',
  'days',
  'releases',
  'secrets',
  'settings',
  'badge',
  'people',
  'tokens',
  'webhooks',
  'deliveries',
] as const

/** What pages show that is another after such a change. */
function keysOf({ kind, place }: Changed['changes'][number]): (readonly unknown[])[] {
  const at = (name: string) => (place === null ? [name] : [name, place.application, place.environment])
  switch (kind) {
    case 'environments':
      return [['environments'], ['overview'], at('status'), at('settings'), at('badge')]
    case 'deployments':
      return [['deployments'], ['deployment'], ['days'], ['environments'], ['overview'], at('status'), at('releases')]
    case 'steps':
      return [['deployments'], ['overview']]
    case 'servers':
      return [['environments'], ['overview'], at('status')]
    case 'releases':
      return [at('releases'), ['environments']]
    case 'secrets':
      return [at('secrets')]
    case 'people':
      return [['people']]
    case 'tokens':
      return [['tokens']]
    case 'webhooks':
      return [['webhooks'], ['deliveries']]
    case 'session':
      return told.map((root) => [root])
    default:
      kind satisfies never
      return []
  }
}

function visible(signal: AbortSignal): Promise<void> {
  if (document.visibilityState === 'visible') return Promise.resolve()
  return new Promise((resolve) => {
    const look = () => {
      if (document.visibilityState !== 'visible' && !signal.aborted) return
      document.removeEventListener('visibilitychange', look)
      resolve()
    }
    document.addEventListener('visibilitychange', look)
    signal.addEventListener('abort', look, { once: true })
  })
}
