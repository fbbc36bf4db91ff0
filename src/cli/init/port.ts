import type { Project } from './project.ts'
import type { Explained } from './proposal.ts'

const readsPort =
  /process\.env\.PORT\b|process\.env\[['"]PORT['"]\]|\benv\.PORT\b|environ(?:\.get\()?[([]?\s*["']PORT["']|getenv\(\s*["']PORT["']|Getenv\("PORT"\)|LookupEnv\("PORT"\)|ENV(?:\.fetch\(|\[)\s*["']PORT["']|\bPORT\s*[:=]\s*(?:z\.|num\(|port\(|int\b)/

const literals = [
  /\.listen\(\s*(\d{2,5})\b/,
  /\.listen\(\s*\{[^}]*\bport:\s*(\d{2,5})\b/,
  /\bport\s*(?::|=|\|\||\?\?)\s*(\d{2,5})\b/i,
  /(?:HTTPServer|TCPServer|make_server)\(\s*\(?\s*["'][^"']*["']\s*,\s*(\d{2,5})/,
  /(?:ListenAndServe|Listen|Run|Start)\(\s*"[^":]*:(\d{2,5})"/,
  /\bAddr:\s*"[^":]*:(\d{2,5})"/,
  /\bset\s*\(?:port\s*,\s*(\d{2,5})/,
]

/** The port to propose, and whether the sources take it from PORT. `usual` is what the stack's documentation uses. */
export function portOf(
  project: Project,
  endings: readonly string[],
  usual: number,
): { port: Explained<number>; fixed: boolean } {
  const sources = project.sources(endings)
  const free = { value: usual, why: 'Given to the process as PORT; the health check asks there.' }
  if (sources.some((source) => readsPort.test(source.text))) return { port: free, fixed: false }
  for (const literal of literals) {
    for (const source of sources) {
      const port = Number(literal.exec(source.text)?.[1])
      if (port >= 80 && port <= 65_535)
        return {
          port: {
            value: port,
            why: `${source.path} listens on this port and does not read PORT, so it has to be this one.`,
          },
          fixed: true,
        }
    }
  }
  return { port: free, fixed: false }
}
