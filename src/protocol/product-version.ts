import { readFileSync } from 'node:fs'

/** dploy's own version: from package.json in a checkout; bundles have it put in. */
export function version(): string {
  if (process.env.DPLOY_VERSION) return process.env.DPLOY_VERSION
  const text = readFileSync(new URL('../../package.json', import.meta.url), 'utf8')
  return (JSON.parse(text) as { version: string }).version
}
