/** Programs that a fix names to be typed. */
const programs = 'dploy|systemctl|git|ssh|curl'
/** A command begins a fix, or follows what introduces it. */
const begin = new RegExp(`(?:^|: |\\(|, or |, then (?:run )?|; )(?=(?:${programs}) [^ ])`, 'g')
/** Where prose goes on: a command of dploy's own texts holds none of these outside quotes. */
const end = /; |, (?:or|then|and|as|when) |: it |\. [A-Z]|\)(?:,|;|$)|\.$/

/** The commands that a fix names, in order, each whole and nothing but a command: what a person can paste. */
export function commandsOf(fix: string): string[] {
  return [...fix.matchAll(begin)].flatMap((match) => {
    const rest = fix.slice(match.index + match[0].length)
    const command = rest.slice(0, endOf(rest)).trim()
    // Words in capitals are for a person to fill in, and what needs more words is said in the text.
    return isWhole(command) ? [command] : []
  })
}

/** Quoted text ends no command. */
function endOf(rest: string): number {
  const plain = rest.replaceAll(/'[^']*'|"[^"]*"/g, (quoted) => '_'.repeat(quoted.length))
  const found = end.exec(plain)
  return found === null ? rest.length : found.index
}

function isWhole(command: string): boolean {
  return (
    command !== '' &&
    !/[;`…]|\bor\b|\bprints?\b|\bprinted\b|\bagain\b|\bserves\b/.test(command.replaceAll(/'[^']*'|"[^"]*"/g, '_'))
  )
}
