import type { EnvironmentSettings } from '../../../protocol/api/settings.ts'

/** What is in force, with what it means; what the file does not say is marked. */
export function SettingList({ settings, label }: { settings: EnvironmentSettings['settings']; label: string }) {
  if (settings.length === 0) return null
  return (
    <div className="table-box" role="region" aria-label={label} tabIndex={0}>
      <table className="table settings">
        <thead>
          <tr>
            <th>Key</th>
            <th>In force</th>
            <th>Meaning</th>
          </tr>
        </thead>
        <tbody>
          {settings.map((one) => (
            <tr key={one.key}>
              <td className="mono nowrap">{one.key}</td>
              <td className="mono setting-value">
                {one.value || <span className="muted">none</span>}
                {one.written === false ? <span className="tag">by default</span> : null}
              </td>
              <td className="muted">{one.meaning}</td>
            </tr>
          ))}
        </tbody>
      </table>
    </div>
  )
}
