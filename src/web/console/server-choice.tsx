import { Popover } from '@base-ui/react/popover'
import { Icon } from '../components/icon.tsx'
import type { Choice } from './selection.ts'

/** Chooses servers by tags and by name, several of each. */
export function ServerChoice({
  tags,
  servers,
  choice,
  chosen,
  onChange,
}: {
  tags: readonly string[]
  servers: readonly string[]
  choice: Choice
  chosen: readonly string[]
  onChange: (choice: Choice) => void
}) {
  const all = choice.tags.length + choice.servers.length === 0
  const toggled = (list: readonly string[], one: string) =>
    list.includes(one) ? list.filter((other) => other !== one) : [...list, one]
  return (
    <Popover.Root>
      <Popover.Trigger className="button">
        <span className="hidden">On </span>
        {all
          ? `All ${servers.length} servers`
          : chosen.length === 1
            ? chosen[0]
            : `${chosen.length} of ${servers.length} servers`}
        <Icon name="down" size={14} />
      </Popover.Trigger>
      <Popover.Portal>
        <Popover.Positioner sideOffset={6} align="end">
          <Popover.Popup className="menu server-choice" aria-label="On which servers">
            {tags.length > 0 ? (
              <Boxes
                title="With the tags"
                names={tags}
                checked={choice.tags}
                onToggle={(tag) => onChange({ ...choice, tags: toggled(choice.tags, tag) })}
              />
            ) : null}
            <Boxes
              title="By name"
              names={servers}
              checked={choice.servers}
              onToggle={(name) => onChange({ ...choice, servers: toggled(choice.servers, name) })}
            />
            <button
              type="button"
              className="button small quiet"
              disabled={all}
              onClick={() => onChange({ tags: [], servers: [] })}
            >
              All servers
            </button>
          </Popover.Popup>
        </Popover.Positioner>
      </Popover.Portal>
    </Popover.Root>
  )
}

function Boxes({
  title,
  names,
  checked,
  onToggle,
}: {
  title: string
  names: readonly string[]
  checked: readonly string[]
  onToggle: (name: string) => void
}) {
  return (
    <fieldset>
      <legend className="muted">{title}</legend>
      {names.map((name) => (
        <label key={name} className="menu-item">
          <input type="checkbox" checked={checked.includes(name)} onChange={() => onToggle(name)} />
          {name}
        </label>
      ))}
    </fieldset>
  )
}
