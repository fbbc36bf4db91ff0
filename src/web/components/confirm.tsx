import { AlertDialog } from '@base-ui/react/alert-dialog'
import type { ReactElement, ReactNode } from 'react'
import { CommandLine } from './command-line.tsx'

/** Asks before something is done that people notice; says what it does and to what. */
export function Confirm(props: {
  trigger: ReactElement
  title: string
  children: ReactNode
  action: string
  danger?: boolean
  command?: string
  onConfirm: () => void
  open?: boolean
  onOpenChange?: (open: boolean) => void
}) {
  const controlled = props.open === undefined ? {} : { open: props.open, onOpenChange: props.onOpenChange! }
  return (
    <AlertDialog.Root {...controlled}>
      <AlertDialog.Trigger render={props.trigger} />
      <AlertDialog.Portal>
        <AlertDialog.Backdrop className="backdrop" />
        <AlertDialog.Popup className="dialog">
          <AlertDialog.Title render={<h2 />}>{props.title}</AlertDialog.Title>
          <AlertDialog.Description render={<div className="stack muted" />}>{props.children}</AlertDialog.Description>
          {props.command ? <CommandLine command={props.command} /> : null}
          <div className="actions">
            <AlertDialog.Close className="button">Keep as it is</AlertDialog.Close>
            <AlertDialog.Close className={`button ${props.danger ? 'danger' : 'primary'}`} onClick={props.onConfirm}>
              {props.action}
            </AlertDialog.Close>
          </div>
        </AlertDialog.Popup>
      </AlertDialog.Portal>
    </AlertDialog.Root>
  )
}
