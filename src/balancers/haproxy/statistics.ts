/** A row of `show stat` (management.txt, 9.1): the columns by name. */
export type StatRow = Readonly<Record<string, string>>

/** Reads the CSV of `show stat`. Fields may be quoted; a quote in a quoted field is doubled. */
export function parseStatistics(text: string): StatRow[] {
  const lines = text.split('\n').filter((line) => line.trim() !== '')
  const header = lines.shift()?.replace(/^#\s*/, '')
  if (header === undefined || !header.startsWith('pxname,')) return []
  const names = header.split(',')
  return lines.map((line) => {
    const fields = splitFields(line)
    return Object.fromEntries(names.map((name, index) => [name, fields[index] ?? '']))
  })
}

function splitFields(line: string): string[] {
  if (!line.includes('"')) return line.split(',')
  return [...line.matchAll(/(?:^|,)(?:"((?:[^"]|"")*)"|([^,]*))/g)].map((match) => match[1]?.replaceAll('""', '"') ?? match[2] ?? '')
}
