import { Component, type ReactNode } from 'react'
import { Problem } from '../components/problem.tsx'
import { toasts } from '../components/toasts.tsx'

interface Props {
  /** Another value, and it is tried again: the address of the page. */
  at: string
  /** It opens above the page, which stays as it is: said beside it. */
  above?: boolean
  children: ReactNode
}

interface State {
  error: Error | null
  /** Where it was caught. */
  at: string
}

/** Shows what is in it; when that cannot be drawn, says so in its place, until another page is opened. Without it nothing at all would be shown. */
export class Fault extends Component<Props, State> {
  override state: State = { error: null, at: this.props.at }

  static getDerivedStateFromError(error: unknown): Partial<State> {
    return { error: error instanceof Error ? error : new Error(String(error)) }
  }

  static getDerivedStateFromProps({ at }: Props, state: State): State {
    return at === state.at ? state : { error: null, at }
  }

  override componentDidCatch(): void {
    if (this.props.above)
      toasts.add({
        title: `This cannot be shown: ${this.state.error!.message}`,
        description: 'Load the page again',
        type: 'error',
        timeout: 12_000,
      })
  }

  override render(): ReactNode {
    const { error } = this.state
    if (error === null) return this.props.children
    if (this.props.above) return null
    return (
      <Problem
        report={{
          code: 'internal',
          message: `This page cannot be shown: ${error.message}`,
          where: undefined,
          fix: 'Load it again. If that does not help, the browser’s console says more',
        }}
      >
        <button type="button" className="button small" onClick={() => location.reload()}>
          Load it again
        </button>
      </Problem>
    )
  }
}
