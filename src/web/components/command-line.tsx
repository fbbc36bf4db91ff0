import { useEffect, useState, type ReactNode } from 'react'
import { Icon } from './icon.tsx'

/** What to type to do the same, to copy. */
export function CommandLine({ command, label = 'The same on the command line' }: { command: string; label?: string }) {
  return (
    <div className="command-line" role="group" aria-label={label}>
      <code className="grow" title={command}>
        {command}
      </code>
      <CopyButton text={command} />
    </div>
  )
}

/** `children`: words beside the sign, where it stands alone. */
export function CopyButton({ text, label = 'Copy', children }: { text: string; label?: string; children?: ReactNode }) {
  const [copied, setCopied] = useState(false)
  useEffect(() => {
    if (!copied) return
    const timer = setTimeout(() => setCopied(false), 1_500)
    return () => clearTimeout(timer)
  }, [copied])
  return (
    <button
      type="button"
      className="button quiet small"
      onClick={() => void copy(text).then(() => setCopied(true))}
      aria-label={children ? undefined : copied ? 'Copied' : `${label}: ${text.slice(0, 80)}`}
      title={label}
    >
      <Icon name={copied ? 'check' : 'copy'} size={14} />
      {children}
      <span className="hidden" aria-live="polite">
        {copied ? 'Copied' : ''}
      </span>
    </button>
  )
}

async function copy(text: string): Promise<void> {
  try {
    await navigator.clipboard.writeText(text)
  } catch {
    // Without TLS a browser has no clipboard for pages; this older way it still has.
    const area = document.createElement('textarea')
    area.value = text
    document.body.append(area)
    area.select()
    document.execCommand('copy')
    area.remove()
  }
}
