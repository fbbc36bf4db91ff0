/** A `server` line of an upstream, and where it stands in the text. */
export interface UpstreamEntry {
  /** `HOST:PORT`; nginx takes port 80 where none is written. */
  address: string
  host: string
  down: boolean
  /** The first word of the comment behind it on the same line. */
  comment: string | null
  /** Offset of its `;`. */
  end: number
  /** Offset behind its last word. */
  lastWord: number
  /** Offsets of the word `down` with one space before it. */
  downAt: { start: number; end: number } | null
}

interface Token {
  kind: 'word' | ';' | '{' | '}' | 'comment'
  text: string
  start: number
  end: number
}

/**
 * The servers of every upstream in a configuration file of nginx, by the name of the upstream. Only what stands in this
 * text: an `include` is not followed.
 */
export function readUpstreams(text: string): Map<string, UpstreamEntry[]> {
  const upstreams = new Map<string, UpstreamEntry[]>()
  let entries: UpstreamEntry[] | null = null
  let depth = 0
  let directive: Token[] = []
  let before: Token | null = null
  for (const token of tokens(text)) {
    if (token.kind === 'comment') {
      const last = entries?.at(-1)
      if (
        last &&
        before?.kind === ';' &&
        before.start === last.end &&
        !text.slice(last.end, token.start).includes('\n')
      )
        last.comment = /^#+\s*(\S+)/.exec(token.text)?.[1] ?? null
      continue
    }
    before = token
    if (token.kind === 'word') {
      directive.push(token)
      continue
    }
    if (token.kind === ';' && depth === 1 && entries && directive[0]?.text === 'server' && directive[1])
      entries.push(entryOf(directive, text, token.start))
    if (token.kind === '{') {
      if (depth === 0 && directive[0]?.text === 'upstream' && directive[1])
        upstreams.set(directive[1].text, (entries = []))
      depth++
    }
    if (token.kind === '}' && --depth === 0) entries = null
    directive = []
  }
  return upstreams
}

/** The text with `down` at exactly those of the entries for which `down` says so; everything else stays as it was written. */
export function markDown(
  text: string,
  entries: readonly UpstreamEntry[],
  down: (entry: UpstreamEntry) => boolean,
): string {
  let result = text
  for (const entry of entries.toSorted((a, b) => b.end - a.end)) {
    const wanted = down(entry)
    if (wanted && !entry.down) result = `${result.slice(0, entry.lastWord)} down${result.slice(entry.lastWord)}`
    if (!wanted && entry.downAt) result = result.slice(0, entry.downAt.start) + result.slice(entry.downAt.end)
  }
  return result
}

/** `HOST:PORT`, with nginx's port 80 where none is written. */
export function withPort(address: string): string {
  return /:\d+$/.test(address) || address.startsWith('unix:') ? address : `${address}:80`
}

function entryOf(directive: readonly Token[], text: string, end: number): UpstreamEntry {
  const address = withPort(directive[1]!.text)
  const word = directive.slice(2).find((token) => token.text === 'down')
  const downAt = word ? { start: /\s/.test(text[word.start - 1]!) ? word.start - 1 : word.start, end: word.end } : null
  return {
    address,
    host: address.replace(/:\d+$/, '').replace(/^\[|\]$/g, ''),
    down: word !== undefined,
    comment: null,
    end,
    lastWord: directive.at(-1)!.end,
    downAt,
  }
}

/** The words of nginx's configuration language (ngx_conf_read_token): quoted or bare, ended by space, `;`, `{` or `}`. */
function* tokens(text: string): Generator<Token> {
  const pattern = /#[^\n]*|[;{}]|"(?:\\[^]|[^"\\])*"|'(?:\\[^]|[^'\\])*'|(?:\\[^]|\$\{|[^\s;{}\\])+/g
  for (const match of text.matchAll(pattern)) {
    const [raw] = match
    const at = { start: match.index, end: match.index + raw.length }
    if (raw.startsWith('#')) yield { kind: 'comment', text: raw, ...at }
    else if (raw === ';' || raw === '{' || raw === '}') yield { kind: raw, text: raw, ...at }
    else yield { kind: 'word', text: /^["']/.test(raw) ? raw.slice(1, -1) : raw, ...at }
  }
}
