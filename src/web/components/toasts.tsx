import { Toast } from '@base-ui/react/toast'
import { asProblem } from '../api/queries.ts'
import { Icon } from './icon.tsx'

export const toasts = Toast.createToastManager()

/** Says an error that belongs to no place on the page: what happened, and what to do. */
export function sayProblem(error: unknown): void {
  const { message, fix } = asProblem(error)
  toasts.add({ title: message, description: fix, type: 'error', timeout: 12_000, priority: 'high' })
}

export function Toasts() {
  return (
    <Toast.Provider toastManager={toasts} timeout={6_000}>
      <Toast.Portal>
        <Toast.Viewport className="toasts">
          <List />
        </Toast.Viewport>
      </Toast.Portal>
    </Toast.Provider>
  )
}

function List() {
  const { toasts: shown } = Toast.useToastManager()
  return shown.map((toast) => (
    <Toast.Root key={toast.id} toast={toast} className="toast">
      <div className="grow">
        <Toast.Title render={<strong />} />
        <Toast.Description className="muted" />
      </div>
      <Toast.Close className="button quiet small" aria-label="Close">
        <Icon name="close" size={14} />
      </Toast.Close>
    </Toast.Root>
  ))
}
