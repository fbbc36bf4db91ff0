import { Dialog } from '@base-ui/react/dialog'

const keys = [
  ['Ctrl K', 'go anywhere'],
  ['d', 'deploy what the page is about'],
  ['r', 'roll back what the page is about'],
  ['/', 'search on the page'],
  ['?', 'this help'],
  ['Ctrl Shift X', 'leave a terminal, which takes all other keys'],
  ['Esc', 'close'],
] as const

/** What the keys do. */
export default function KeysHelp({ onClose }: { onClose: () => void }) {
  return (
    <Dialog.Root open onOpenChange={(open) => !open && onClose()}>
      <Dialog.Portal>
        <Dialog.Backdrop className="backdrop" />
        <Dialog.Popup className="dialog">
          <Dialog.Title render={<h2 />}>Keys</Dialog.Title>
          <dl className="keys">
            {keys.map(([key, text]) => (
              <div key={key} className="row">
                <dt>
                  <kbd>{key}</kbd>
                </dt>
                <dd>{text}</dd>
              </div>
            ))}
          </dl>
          <div className="actions">
            <Dialog.Close className="button">Close</Dialog.Close>
          </div>
        </Dialog.Popup>
      </Dialog.Portal>
    </Dialog.Root>
  )
}
