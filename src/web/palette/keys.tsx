import { Suspense, useEffect, useState } from 'react'
import { Icon } from '../components/icon.tsx'
import { Fault } from '../shell/fault.tsx'
import { part } from '../shell/part.ts'

const Palette = part(() => import('./palette.tsx'))
const KeysHelp = part(() => import('./keys-help.tsx'))

/** What is opened by keys; each page marks what `d`, `r` and `/` are about (data-deploy, data-rollback, data-search). */
export function Keys() {
  const [open, setOpen] = useState<'palette' | 'help' | null>(null)
  useEffect(() => {
    const onKey = (event: KeyboardEvent) => {
      if ((event.ctrlKey || event.metaKey) && event.key.toLowerCase() === 'k') {
        event.preventDefault()
        return setOpen('palette')
      }
      const typing =
        event.target instanceof HTMLElement &&
        event.target.closest('input, textarea, select, [contenteditable], [role="dialog"], [role="alertdialog"]') !==
          null
      if (typing || event.ctrlKey || event.metaKey || event.altKey) return
      if (event.key === '?') return setOpen('help')
      const wanted = { d: '[data-deploy]', r: '[data-rollback]', '/': '[data-search]' }[event.key]
      const element = wanted === undefined ? null : document.querySelector<HTMLElement>(wanted)
      if (!element) return
      event.preventDefault()
      if (event.key === '/') element.focus()
      else element.click()
    }
    addEventListener('keydown', onKey)
    return () => removeEventListener('keydown', onKey)
  }, [])
  const close = () => setOpen(null)
  return (
    <>
      <button type="button" className="find" aria-label="Go to… Ctrl K" onClick={() => setOpen('palette')}>
        <Icon name="search" size={14} />
        <span>Go to…</span>
        <kbd>Ctrl K</kbd>
      </button>
      <Fault at={open ?? ''} above>
        <Suspense>
          {open === 'palette' ? <Palette onClose={close} /> : open === 'help' ? <KeysHelp onClose={close} /> : null}
        </Suspense>
      </Fault>
    </>
  )
}
