import { NavLink, Outlet } from 'react-router'
import { useMay } from '../api/rights.ts'
import './settings.css'

/** What holds for the whole control plane. Administrators see more of it than others. */
export default function SettingsPage() {
  const administers = useMay('administer', null)
  const tabs = [
    ['account', 'You'],
    ['tokens', 'API tokens'],
    ...(administers
      ? [
          ['people', 'People'],
          ['webhooks', 'Webhooks'],
          ['audit', 'Audit log'],
        ]
      : []),
  ] as [string, string][]
  return (
    <>
      <div className="page-head">
        <h1 className="grow">Settings</h1>
      </div>
      <nav className="tabs" aria-label="Settings">
        {tabs.map(([path, title]) => (
          <NavLink key={path} to={`/settings/${path}`}>
            {title}
          </NavLink>
        ))}
      </nav>
      <Outlet />
    </>
  )
}
