import type { Caller } from './caller.ts'

/** What a terminal would take for commands. */
const controls = /\p{Cc}/gu

/**
 * Under whose name things are done. Over the unix socket the client says it (`anna@laptop`); who signed in has a name of
 * their own, and a token's name stands with whatever its user says, so that nobody can act as somebody else.
 */
export function signAs(caller: Caller, body: unknown, query: unknown): void {
  if (caller.kind === 'local') return
  for (const part of [body, query]) {
    if (part === null || typeof part !== 'object') continue
    const fields = part as Record<string, unknown>
    for (const key of ['requestedBy', 'setBy']) {
      const said = fields[key]
      if (typeof said === 'string')
        fields[key] =
          caller.kind === 'token' && caller.person === null
            ? `${said.replaceAll(controls, '')} (${caller.name})`
            : caller.name
    }
  }
}
