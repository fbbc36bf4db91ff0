import type { Check } from '../facts.ts'

/** Whether every secret that dploy.yml names has a value. */
export const secrets: Check = ({ secretsProblem, environment }) =>
  secretsProblem
    ? [
        {
          server: null,
          severity: 'error',
          code: secretsProblem.code,
          message: secretsProblem.message,
          next: `dploy secret list ${environment}`,
        },
      ]
    : []
