/** The address of an environment's pages. */
export function placeOf(where: { application: string; environment: string }): string {
  return `/environments/${encodeURIComponent(where.application)}/${encodeURIComponent(where.environment)}`
}
