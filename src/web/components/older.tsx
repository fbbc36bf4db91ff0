import { useEffect, useState } from 'react'
import { merged } from './merged.ts'
import { sayProblem } from './toasts.tsx'

/** A list of numbered things, the newest first: what is looked at again and again, and what was asked for behind it. */
export interface Growing<T> {
  all: readonly T[]
  /** Null: there is nothing older. */
  older: (() => void) | null
  busy: boolean
}

/** Adds older pages to the `first`, which has up to `size`. `of`: what the list is about; of something else it begins anew. */
export function useGrowing<T extends { number: number }>(
  of: string,
  first: readonly T[] | undefined,
  size: number,
  before: (number: number) => Promise<readonly T[]>,
): Growing<T> {
  const [list, setList] = useState<{ of: string; all: readonly T[]; end: boolean }>({ of, all: [], end: false })
  const [busy, setBusy] = useState(false)
  useEffect(() => {
    if (first)
      setList((known) =>
        known.of === of ? { ...known, all: merged(known.all, first) } : { of, all: first, end: false },
      )
  }, [of, first])
  const all = list.of === of && list.all.length > 0 ? list.all : (first ?? [])
  const older = async () => {
    setBusy(true)
    try {
      const page = await before(all.at(-1)!.number)
      setList((known) => ({ of, all: merged(known.of === of ? known.all : all, page), end: page.length < size }))
    } catch (error) {
      sayProblem(error as Error)
    } finally {
      setBusy(false)
    }
  }
  return { all, older: all.length < size || (list.of === of && list.end) ? null : () => void older(), busy }
}

export function Older({ list }: { list: Growing<unknown> }) {
  if (list.older === null) return null
  return (
    <div className="row">
      <button type="button" className="button" disabled={list.busy} onClick={list.older}>
        {list.busy ? 'Reading…' : 'Older'}
      </button>
    </div>
  )
}
