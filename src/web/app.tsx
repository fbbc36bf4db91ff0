import { CSPProvider } from '@base-ui/react/csp-provider'
import { QueryClientProvider } from '@tanstack/react-query'
import { StrictMode, Suspense, useEffect, useSyncExternalStore } from 'react'
import { BrowserRouter, Navigate, Route, Routes } from 'react-router'
import { queryClient } from './api/queries.ts'
import { session } from './api/session.ts'
import { Empty, Skeleton } from './components/empty.tsx'
import { Toasts } from './components/toasts.tsx'
import { Overview } from './overview/overview.tsx'
import { Fault } from './shell/fault.tsx'
import { part } from './shell/part.ts'
import { Shell } from './shell/shell.tsx'
import { OneUseLink } from './sign-in/one-use-link.tsx'
import { SignIn } from './sign-in/sign-in.tsx'

const DeploymentPage = part(() => import('./deployment/deployment-page.tsx'))
const DeployPage = part(() => import('./deploy/deploy-page.tsx'))
const EnvironmentPage = part(() => import('./environment/environment-page.tsx'))
const Servers = part(() => import('./environment/servers.tsx'))
const Releases = part(() => import('./environment/releases.tsx'))
const DeploymentsOf = part(() => import('./environment/deployments-of.tsx'))
const Logs = part(() => import('./environment/logs.tsx'))
const EnvironmentSettings = part(() => import('./environment/settings.tsx'))
const TerminalPage = part(() => import('./terminal/terminal-page.tsx'))
const Console = part(() => import('./console/console.tsx'))
const SettingsPage = part(() => import('./settings/settings-page.tsx'))
const Account = part(() => import('./settings/account.tsx'))
const People = part(() => import('./settings/people.tsx'))
const Tokens = part(() => import('./settings/tokens.tsx'))
const Webhooks = part(() => import('./settings/webhooks.tsx'))
const Audit = part(() => import('./settings/audit.tsx'))
const Deployments = part(() => import('./deployment/deployments.tsx'))

/** All pages by their addresses. What the first page does not need is loaded when it is opened. */
export function App() {
  return (
    <StrictMode>
      <CSPProvider disableStyleElements>
        <QueryClientProvider client={queryClient}>
          <Fault at="">
            <Pages />
          </Fault>
          <Toasts />
        </QueryClientProvider>
      </CSPProvider>
    </StrictMode>
  )
}

function Pages() {
  const who = useSyncExternalStore(session.subscribe, () => session.who)
  useEffect(() => void session.look(), [])
  if (who === undefined) return <Skeleton lines={4} />
  if (who === null)
    return location.pathname === '/setup' || location.pathname === '/invitation' ? <OneUseLink /> : <SignIn />
  return (
    <BrowserRouter>
      <Suspense fallback={<Skeleton lines={4} />}>
        <Routes>
          <Route element={<Shell />}>
            <Route index element={<Overview />} />
            <Route path="deployments" element={<Deployments />} />
            <Route path="deployments/:number" element={<DeploymentPage />} />
            <Route path="environments/:application/:environment/deploy" element={<DeployPage />} />
            <Route path="environments/:application/:environment" element={<EnvironmentPage />}>
              <Route index element={<Navigate to="servers" replace />} />
              <Route path="servers" element={<Servers />} />
              <Route path="releases" element={<Releases />} />
              <Route path="deployments" element={<DeploymentsOf />} />
              <Route path="logs" element={<Logs />} />
              <Route path="console" element={<Console />} />
              <Route path="terminal/:server" element={<TerminalPage />} />
              <Route path="settings" element={<EnvironmentSettings />} />
            </Route>
            <Route path="settings" element={<SettingsPage />}>
              <Route index element={<Navigate to="account" replace />} />
              <Route path="account" element={<Account />} />
              <Route path="people" element={<People />} />
              <Route path="tokens" element={<Tokens />} />
              <Route path="webhooks" element={<Webhooks />} />
              <Route path="audit" element={<Audit />} />
            </Route>
            <Route
              path="*"
              element={
                <Empty page title="There is no such page">
                  The address may have been cut when it was copied.
                </Empty>
              }
            />
          </Route>
        </Routes>
      </Suspense>
    </BrowserRouter>
  )
}
