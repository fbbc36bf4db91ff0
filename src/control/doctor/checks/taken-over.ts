import type { Check } from '../facts.ts'

/** What servers were found to be ahead by, and nobody has looked at. */
export const takenOver: Check = ({ takenOver: found }) =>
  found === null
    ? []
    : [
        {
          server: null,
          severity: 'error',
          code: 'environment.taken_over',
          message: found.text,
          next: found.next,
        },
      ]
