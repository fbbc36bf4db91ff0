import { Autocomplete } from '@base-ui/react/autocomplete'
import { Dialog } from '@base-ui/react/dialog'
import { useQuery } from '@tanstack/react-query'
import { useState } from 'react'
import { useNavigate } from 'react-router'
import { mayAt } from '../../protocol/api/access.ts'
import { queries } from '../api/queries.ts'
import { useWho } from '../api/rights.ts'
import { placeOf } from '../overview/place.ts'
import './palette.css'

/** A thousand servers are found by their names, not by scrolling. */
const mostShown = 100

interface Command {
  label: string
  to: string
}

/** All words, in any order, without what stands between letters: `app05 prod` finds `app-05 → production`. */
function finds(label: string, query: string): boolean {
  const text = label.toLowerCase()
  const letters = text.replaceAll(/[^\p{L}\p{N}]+/gu, '')
  return query
    .toLowerCase()
    .split(/\s+/)
    .every((word) => text.includes(word) || (word !== '' && letters.includes(word.replaceAll(/[^\p{L}\p{N}]+/gu, ''))))
}

/** Goes anywhere by a few letters. */
export default function Palette({ onClose }: { onClose: () => void }) {
  const navigate = useNavigate()
  const who = useWho()
  const { data } = useQuery(queries.environments())
  const { data: deployments } = useQuery(queries.deployments({ limit: 20 }))
  const rights = who?.rights ?? []
  // A number of any age is a deployment; whether there is one, its page says.
  const [number, setNumber] = useState<string | null>(null)
  const commands: Command[] = [
    ...(number !== null && !(deployments ?? []).some((one) => String(one.number) === number)
      ? [{ label: `Deployment ${number}`, to: `/deployments/${number}` }]
      : []),
    ...(data ?? []).flatMap((one) => {
      const name = `${one.application} → ${one.environment}`
      const may = mayAt(rights, 'deploy', one)
      const pages = [
        'servers',
        'releases',
        'deployments',
        'logs',
        ...(mayAt(rights, 'administer', one) ? ['console'] : []),
        'settings',
      ]
      return [
        ...(may ? [{ label: `Deploy ${name}`, to: `${placeOf(one)}/deploy` }] : []),
        ...pages.map((page) => ({ label: `${name}: ${page}`, to: `${placeOf(one)}/${page}` })),
      ]
    }),
    ...(deployments ?? []).map((one) => ({
      label: `Deployment ${one.number}: ${one.application} → ${one.environment}${one.revision?.subject ? `, ${one.revision.subject}` : ''}`,
      to: `/deployments/${one.number}`,
    })),
    ...(data ?? [])
      .filter((one) => mayAt(rights, 'administer', one))
      .flatMap((one) =>
        one.servers.map((server) => ({
          label: `Terminal on ${server}: ${one.application} → ${one.environment}`,
          to: `${placeOf(one)}/terminal/${encodeURIComponent(server)}`,
        })),
      ),
    { label: 'Overview', to: '/' },
    { label: 'All deployments', to: '/deployments' },
    { label: 'Settings: you', to: '/settings/account' },
    { label: 'Settings: API tokens', to: '/settings/tokens' },
    ...(mayAt(rights, 'administer', null)
      ? ['people', 'webhooks', 'audit'].map((page) => ({ label: `Settings: ${page}`, to: `/settings/${page}` }))
      : []),
  ]
  const go = (command: Command) => {
    onClose()
    void navigate(command.to)
  }
  return (
    <Dialog.Root open onOpenChange={(open) => !open && onClose()}>
      <Dialog.Portal>
        <Dialog.Backdrop className="backdrop" />
        <Dialog.Popup className="dialog palette" aria-label="Go to">
          <Autocomplete.Root
            open
            inline
            items={commands}
            limit={mostShown}
            autoHighlight="always"
            keepHighlight
            itemToStringValue={(command) => command.label}
            filter={(command: Command, query: string) => finds(command.label, query)}
            onValueChange={(value) => setNumber(/^#?(\d{1,9})$/.exec(value.trim())?.[1] ?? null)}
          >
            <Autocomplete.Input className="input" placeholder="Where to?" aria-label="Where to?" />
            <Autocomplete.Empty>
              <p className="muted palette-none">Nothing is called that.</p>
            </Autocomplete.Empty>
            <Autocomplete.List className="palette-list">
              {(command: Command) => (
                <Autocomplete.Item
                  key={`${command.to} ${command.label}`}
                  value={command}
                  className="menu-item"
                  onClick={() => go(command)}
                >
                  {command.label}
                </Autocomplete.Item>
              )}
            </Autocomplete.List>
          </Autocomplete.Root>
        </Dialog.Popup>
      </Dialog.Portal>
    </Dialog.Root>
  )
}
