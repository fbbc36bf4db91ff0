import { Menu } from '@base-ui/react/menu'
import { Suspense, useEffect, useSyncExternalStore } from 'react'
import { Link, NavLink, Outlet, useLocation, useNavigate } from 'react-router'
import { followChanges } from '../api/changes.ts'
import { connection } from '../api/connection.ts'
import { queryClient } from '../api/queries.ts'
import { useWho } from '../api/rights.ts'
import { session } from '../api/session.ts'
import { Skeleton } from '../components/empty.tsx'
import { Icon } from '../components/icon.tsx'
import { State } from '../components/state.tsx'
import { ago, useNow } from '../components/time.tsx'
import { Keys } from '../palette/keys.tsx'
import { Fault } from './fault.tsx'
import { useWaiting } from './waiting.ts'
import { setTheme, useTheme, type Theme } from './theme.ts'
import './shell.css'

const places = [
  { to: '/', text: 'Overview' },
  { to: '/deployments', text: 'Deployments' },
  { to: '/settings', text: 'Settings' },
] as const

/** What stands around every page: where one can go, whether the control plane answers, light or dark, who one is. */
export function Shell() {
  useEffect(() => followChanges(queryClient), [])
  const { pathname } = useLocation()
  const waiting = useWaiting()
  const lostSince = useSyncExternalStore(connection.subscribe, () => connection.lostSince)
  return (
    <div className={lostSince === null ? '' : 'is-lost'}>
      <a className="button skip" href="#content">
        Skip to the page
      </a>
      <header className="top">
        <Link to="/" className="brand">
          <img src="/icon.svg" width="20" height="20" alt="" />
          dploy
        </Link>
        <nav aria-label="Pages">
          {places.map(({ to, text }) => (
            <NavLink key={to} to={to} end={to === '/'}>
              {text}
              {to === '/' && waiting > 0 ? (
                <span
                  className="count number"
                  title={`${waiting} ${waiting === 1 ? 'thing waits' : 'things wait'} for you`}
                >
                  {waiting}
                </span>
              ) : null}
            </NavLink>
          ))}
        </nav>
        <div className="tools">
          <span role="status">
            {lostSince === null ? <State tone="good">live</State> : <State tone="warn">not connected</State>}
          </span>
          <Keys />
          <ThemeMenu />
          <WhoMenu />
        </div>
      </header>
      {lostSince === null ? null : <Lost since={lostSince} />}
      <main id="content" tabIndex={-1}>
        <Fault at={pathname}>
          <Suspense fallback={<Skeleton lines={4} />}>
            <Outlet />
          </Suspense>
        </Fault>
      </main>
    </div>
  )
}

function Lost({ since }: { since: number }) {
  const now = useNow(1_000)
  return (
    <div className="lost" role="status">
      <Icon name="warning" size={14} />
      The control plane does not answer. What you see is from {ago(since, now)}; it goes on by itself.
    </div>
  )
}

const themes: { value: Theme; text: string; icon: 'half' | 'sun' | 'moon' }[] = [
  { value: 'system', text: 'As the system', icon: 'half' },
  { value: 'light', text: 'Light', icon: 'sun' },
  { value: 'dark', text: 'Dark', icon: 'moon' },
]

/** Who is signed in, and what is about them. */
function WhoMenu() {
  const who = useWho()
  const navigate = useNavigate()
  const name = who?.name ?? ''
  return (
    <Menu.Root>
      <Menu.Trigger className="button quiet who-menu" title={name}>
        <span className="hidden">Signed in as </span>
        <span className="initials" aria-hidden="true">
          {initialsOf(name)}
        </span>
        <span className="cut who-name">{name}</span>
      </Menu.Trigger>
      <Menu.Portal>
        <Menu.Positioner sideOffset={6} align="end">
          <Menu.Popup className="menu">
            <div className="menu-head">
              <strong>{name}</strong>
              <span className="muted">{who?.email ?? (who?.kind === 'token' ? 'an API token, in this tab' : '')}</span>
            </div>
            <Menu.Item className="menu-item" onClick={() => void navigate('/settings/account')}>
              You and your sessions
            </Menu.Item>
            <Menu.Item className="menu-item" onClick={() => session.signOut()}>
              Sign out
            </Menu.Item>
          </Menu.Popup>
        </Menu.Positioner>
      </Menu.Portal>
    </Menu.Root>
  )
}

/** `AL` of Ada Lovelace. */
function initialsOf(name: string): string {
  const words = name.split(/\s+/).filter(Boolean)
  return [words[0], words.length > 1 ? words.at(-1) : undefined]
    .map((word) => (word === undefined ? '' : [...word][0]!.toUpperCase()))
    .join('')
}

function ThemeMenu() {
  const theme = useTheme()
  return (
    <Menu.Root>
      <Menu.Trigger className="button quiet" aria-label="Light or dark">
        <Icon name={themes.find(({ value }) => value === theme)!.icon} />
      </Menu.Trigger>
      <Menu.Portal>
        <Menu.Positioner sideOffset={6} align="end">
          <Menu.Popup className="menu">
            <Menu.RadioGroup value={theme} onValueChange={(value) => setTheme(value as Theme)}>
              {themes.map(({ value, text, icon }) => (
                <Menu.RadioItem key={value} value={value} className="menu-item">
                  <Icon name={icon} />
                  <span className="grow">{text}</span>
                  <Menu.RadioItemIndicator>
                    <Icon name="check" size={14} />
                  </Menu.RadioItemIndicator>
                </Menu.RadioItem>
              ))}
            </Menu.RadioGroup>
          </Menu.Popup>
        </Menu.Positioner>
      </Menu.Portal>
    </Menu.Root>
  )
}
