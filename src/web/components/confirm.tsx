import { AlertDialog } from '@base-ui/react/alert-dialog'
import { useRef, type ReactElement, type ReactNode } from 'react'
import { CommandLine } from './command-line.tsx'

/** Asks before something is done that people notice; says what it does and to what. */
export function Confirm(props: {
  trigger: ReactElement
  title: string
  children: ReactNode
  action: string
  danger?: boolean
  command?: string
  /** False: what the question asks for first has not been said yet. */
  ready?: boolean
  onConfirm: () => void
  open?: boolean
  onOpenChange?: (open: boolean) => void
}) {
  const controlled = {
    ...(props.open === undefined ? {} : { open: props.open }),
    ...(props.onOpenChange === undefined ? {} : { onOpenChange: props.onOpenChange }),
  }
  // Enter neither copies the line nor does it: who asks "really?" waits for a choice.
  const keep = useRef<HTMLButtonElement>(null)
  return (
    <AlertDialog.Root {...controlled}>
      <AlertDialog.Trigger render={props.trigger} />
      <AlertDialog.Portal>
        <AlertDialog.Backdrop className="backdrop" />
        <AlertDialog.Popup className="dialog" initialFocus={keep}>
          <AlertDialog.Title render={<h2 />}>{props.title}</AlertDialog.Title>
          <AlertDialog.Description render={<div className="stack muted" />}>{props.children}</AlertDialog.Description>
          {props.command ? <CommandLine command={props.command} /> : null}
          <div className="actions">
            <AlertDialog.Close className="button" ref={keep}>
              Keep as it is
            </AlertDialog.Close>
            <AlertDialog.Close
              className={`button ${props.danger ? 'danger' : 'primary'}`}
              disabled={props.ready === false}
              onClick={props.onConfirm}
            >
              {props.action}
            </AlertDialog.Close>
          </div>
        </AlertDialog.Popup>
      </AlertDialog.Portal>
    </AlertDialog.Root>
  )
}
