/** A row of `show stat` (management.txt, 9.1): the columns by name. */
export type StatRow = Readonly<Record<string, string>>

/** Reads the CSV of `show stat`, or its rows of some proxies. Fields may be quoted; a quote in a quoted field is doubled. */
export function parseStatistics(text: string, proxies?: readonly string[]): StatRow[] {
  const lines = text
    .split('\n')
    .filter(
      (line) =>
        line.trim() !== '' &&
        (proxies === undefined || line.startsWith('# ') || proxies.includes(line.slice(0, line.indexOf(',')))),
    )
  const header = lines.shift()?.replace(/^#\s*/, '')
  if (header === undefined || !header.startsWith('pxname,')) return []
  const names = header.split(',')
  return lines.map((line) => {
    const fields = splitFields(line)
    return Object.fromEntries(names.map((name, index) => [name, fields[index] ?? '']))
  })
}

function splitFields(line: string): string[] {
  const pieces = line.split(',')
  if (!line.includes('"')) return pieces
  const fields: string[] = []
  for (let index = 0; index < pieces.length; index++) {
    let field = pieces[index]!
    if (field.startsWith('"')) {
      // It ends at a quote that is not one of a pair; a comma before that is its own.
      while (!/^"(?:[^"]|"")*"$/.test(field) && index + 1 < pieces.length) field += `,${pieces[++index]!}`
      field = field.slice(1, -1).replaceAll('""', '"')
    }
    fields.push(field)
  }
  return fields
}
