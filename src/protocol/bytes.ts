const units = ['B', 'KB', 'MB', 'GB', 'TB'] as const

/** A number of bytes for people: `912 B`, `38 KB`, `1.2 MB`. Decimal: 1 KB is 1,000 bytes. */
export function formatBytes(bytes: number): string {
  let value = bytes
  let unit = 0
  while (value >= 999.5 && unit < units.length - 1) {
    value /= 1000
    unit += 1
  }
  return `${unit === 0 || value >= 9.95 ? Math.round(value) : value.toFixed(1)} ${units[unit]}`
}
