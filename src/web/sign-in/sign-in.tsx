import { useState, type FormEvent } from 'react'
import { client, isSignedOut, session } from '../api/session.ts'
import { asProblem } from '../api/queries.ts'
import './sign-in.css'

/** Who one is: a person with a password, or the owner of a token, which is kept in this tab alone. */
export function SignIn() {
  const [byToken, setByToken] = useState(false)
  const [email, setEmail] = useState('')
  const [password, setPassword] = useState('')
  const [token, setToken] = useState('')
  const [problem, setProblem] = useState('')
  const [busy, setBusy] = useState(false)
  const submit = async (event: FormEvent) => {
    event.preventDefault()
    setBusy(true)
    try {
      if (byToken) session.signedIn(await client(token.trim()).call('session'), token.trim())
      else session.signedIn(await client().call('signIn', { body: { email: email.trim(), password } }), null)
    } catch (error) {
      setProblem(
        isSignedOut(error)
          ? 'This token is not valid. Copy it whole, as it was printed.'
          : `${asProblem(error).message}. ${asProblem(error).fix}.`,
      )
      setBusy(false)
    }
  }
  return (
    <main className="sign-in">
      <img src="/icon.svg" width="40" height="40" alt="" />
      <h1>Sign in to dploy</h1>
      <form className="card" onSubmit={(event) => void submit(event)}>
        {byToken ? (
          <div className="field">
            <label htmlFor="token">API token</label>
            <input
              id="token"
              className="input mono"
              type="password"
              autoComplete="off"
              required
              autoFocus
              value={token}
              onChange={(event) => setToken(event.target.value)}
              aria-invalid={problem !== ''}
              aria-describedby="sign-in-problem"
            />
          </div>
        ) : (
          <>
            <div className="field">
              <label htmlFor="email">E-mail address</label>
              <input
                id="email"
                className="input"
                type="email"
                autoComplete="username"
                required
                autoFocus
                value={email}
                onChange={(event) => setEmail(event.target.value)}
                aria-invalid={problem !== ''}
                aria-describedby="sign-in-problem"
              />
            </div>
            <div className="field">
              <label htmlFor="password">Password</label>
              <input
                id="password"
                className="input"
                type="password"
                autoComplete="current-password"
                required
                value={password}
                onChange={(event) => setPassword(event.target.value)}
                aria-invalid={problem !== ''}
                aria-describedby="sign-in-problem"
              />
            </div>
          </>
        )}
        <p id="sign-in-problem" role="alert" className="sign-in-problem">
          {problem}
        </p>
        <button type="submit" className="button primary" disabled={busy}>
          {busy ? 'Signing in…' : 'Sign in'}
        </button>
        <button type="button" className="button quiet" onClick={() => (setByToken(!byToken), setProblem(''))}>
          {byToken ? 'Use address and password' : 'Use an API token'}
        </button>
        <p className="muted">
          Nobody has signed in here yet? Open the link that <code>dploy serve</code> prints.
        </p>
      </form>
    </main>
  )
}
