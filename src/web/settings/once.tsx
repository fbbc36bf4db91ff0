import { CommandLine } from '../components/command-line.tsx'

/** Something that is shown this once: a link, a token. */
export function Once({ title, value, children }: { title: string; value: string; children?: React.ReactNode }) {
  return (
    <div className="once" role="status">
      <strong>{title}</strong>
      <CommandLine command={value} label={title} />
      {children}
    </div>
  )
}
