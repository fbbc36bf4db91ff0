import { useState, type FormEvent } from 'react'
import { client, isSignedOut, session } from '../api/session.ts'
import { asProblem } from '../api/queries.ts'
import { CommandLine } from '../components/command-line.tsx'
import './sign-in.css'

/** Who one is: a token, kept in this tab alone. */
export function SignIn() {
  const [token, setToken] = useState('')
  const [problem, setProblem] = useState('')
  const [busy, setBusy] = useState(false)
  const submit = async (event: FormEvent) => {
    event.preventDefault()
    setBusy(true)
    try {
      await client(token.trim()).call('environments')
      session.signIn(token.trim())
    } catch (error) {
      setProblem(isSignedOut(error) ? 'This token is not valid. Copy it whole, as dploy serve printed it.' : asProblem(error).message)
      setBusy(false)
    }
  }
  return (
    <main className="sign-in">
      <img src="/icon.svg" width="40" height="40" alt="" />
      <h1>Sign in to dploy</h1>
      <form className="card" onSubmit={(event) => void submit(event)}>
        <div className="field">
          <label htmlFor="token">API token</label>
          <input id="token" className="input mono" type="password" autoComplete="current-password" required autoFocus value={token} onChange={(event) => setToken(event.target.value)} aria-invalid={problem !== ''} aria-describedby="token-help token-problem" />
        </div>
        <p id="token-problem" role="alert" className="sign-in-problem">{problem}</p>
        <button type="submit" className="button primary" disabled={busy || token.trim() === ''}>{busy ? 'Signing in…' : 'Sign in'}</button>
        <p id="token-help" className="muted">It is printed once, when the control plane starts for the first time:</p>
        <CommandLine command="dploy serve" />
      </form>
    </main>
  )
}
