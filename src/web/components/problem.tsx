import type { ReactNode } from 'react'
import type { ErrorReport } from '../../protocol/errors.ts'
import { commandsOf } from '../../protocol/fix-commands.ts'
import { CommandLine } from './command-line.tsx'
import { Icon } from './icon.tsx'

/** What went wrong: what, where, and the one next action. */
export function Problem({
  report,
  tone = 'bad',
  children,
}: {
  report: Pick<ErrorReport, 'message' | 'fix' | 'where' | 'code'>
  tone?: 'bad' | 'warn'
  children?: ReactNode
}) {
  const commands = commandsOf(report.fix)
  return (
    <div className={`problem ${tone === 'warn' ? 'warn' : ''}`} role={tone === 'bad' ? 'alert' : undefined}>
      <Icon name="warning" />
      <div className="grow stack">
        <div>
          {report.where ? <strong>{report.where}: </strong> : null}
          {report.message} <span className="code mono">{report.code}</span>
        </div>
        <div>
          <strong>Next: </strong>
          {report.fix}
        </div>
        {commands.length > 0 || children ? (
          <div className="row wrap">
            {children}
            {commands.map((command) => (
              <CommandLine key={command} command={command} />
            ))}
          </div>
        ) : null}
      </div>
    </div>
  )
}
