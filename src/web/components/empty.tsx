import type { ReactNode } from 'react'

/** Where there is nothing yet: the first step of what one comes here for. `page`: nothing else has a heading there. */
export function Empty({
  title,
  children,
  action,
  page = false,
}: {
  title: string
  children?: ReactNode
  action?: ReactNode
  page?: boolean
}) {
  const Heading = page ? 'h1' : 'h2'
  return (
    <div className="empty">
      <Heading>{title}</Heading>
      {children}
      {action}
    </div>
  )
}

export function Skeleton({ lines = 3, tall = false }: { lines?: number; tall?: boolean }) {
  return (
    <div className="stack wide" aria-hidden="true">
      {Array.from({ length: lines }, (_, index) => (
        <span key={index} className={`skeleton ${tall ? 'tall' : ''}`} />
      ))}
    </div>
  )
}
