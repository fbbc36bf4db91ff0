import { useState, type FormEvent } from 'react'
import { asProblem } from '../api/queries.ts'
import { client, session } from '../api/session.ts'
import './sign-in.css'

/** What a one-use link opens: become the first administrator (`/setup#…`), or choose a password (`/invitation#…`). */
export function OneUseLink() {
  const first = location.pathname === '/setup'
  // After #, so that it stands in no log; taken out of the address, so that nobody reads it there.
  const [token] = useState(() => location.hash.slice(1))
  const [fields, setFields] = useState({ name: '', email: '', password: '' })
  const [problem, setProblem] = useState(token === '' ? 'This link is not whole. Copy it as it was printed.' : '')
  const [busy, setBusy] = useState(false)
  const submit = async (event: FormEvent) => {
    event.preventDefault()
    setBusy(true)
    try {
      const found = first
        ? await client(null).call('setUp', { body: { token, ...fields } })
        : await client(null).call('acceptInvitation', { body: { token, password: fields.password } })
      history.replaceState(null, '', '/')
      session.signedIn(found, null)
    } catch (error) {
      setProblem(`${asProblem(error).message}. ${asProblem(error).fix}.`)
      setBusy(false)
    }
  }
  const field = (
    name: keyof typeof fields,
    label: string,
    more: { type: string; autoComplete: string; minLength?: number },
  ) => (
    <div className="field">
      <label htmlFor={name}>{label}</label>
      <input
        id={name}
        className="input"
        required
        value={fields[name]}
        onChange={(event) => setFields({ ...fields, [name]: event.target.value })}
        aria-describedby="link-problem"
        {...more}
      />
    </div>
  )
  return (
    <main className="sign-in">
      <img src="/icon.svg" width="40" height="40" alt="" />
      <h1>{first ? 'Become the first administrator' : 'Choose a password'}</h1>
      <form className="card" onSubmit={(event) => void submit(event)}>
        {first && field('name', 'Name', { type: 'text', autoComplete: 'name' })}
        {first && field('email', 'E-mail address', { type: 'email', autoComplete: 'username' })}
        {field('password', 'Password', { type: 'password', autoComplete: 'new-password', minLength: 12 })}
        <p className="muted">12 characters or more. Several words are easier to remember than signs.</p>
        <p id="link-problem" role="alert" className="sign-in-problem">
          {problem}
        </p>
        <button type="submit" className="button primary" disabled={busy || token === ''}>
          {busy ? 'One moment…' : first ? 'Begin' : 'Sign in'}
        </button>
      </form>
    </main>
  )
}
