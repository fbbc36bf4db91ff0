/**
 * A command as a person can type it: words that a shell would take apart are quoted, so that it is one command whatever a
 * path or a server's answer holds. Control characters have no place in a line that is copied. Pure.
 */
export function typed(words: readonly string[]): string {
  return words.map(quoted).join(' ')
}

/** One word for a POSIX shell, quoted only where it has to be; zsh takes brackets for a pattern. */
function quoted(word: string): string {
  // oxlint-disable-next-line no-control-regex -- taking control characters out is what it is here for
  const clean = word.replaceAll(/[\u0000-\u001F\u007F-\u009F\u2028-\u202E\u2066-\u2069]/g, '?')
  return /^[A-Za-z0-9_./:,@%+=-]+$/.test(clean) ? clean : `'${clean.replaceAll("'", "'\\''")}'`
}
