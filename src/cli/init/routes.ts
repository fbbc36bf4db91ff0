import type { Project } from './project.ts'
import type { Explained } from './proposal.ts'

const healthPaths = [
  '/healthz',
  '/health',
  '/healthcheck',
  '/health-check',
  '/_health',
  '/api/health',
  '/api/healthz',
  '/livez',
  '/readyz',
  '/up',
  '/ping',
  '/status',
]

/**
 * What to ask to learn whether the application serves: a path for health checks that its sources name, else a page that
 * needs no parameter, else `/`.
 */
export function healthPathOf(project: Project, endings: readonly string[]): Explained<string> {
  const sources = project.sources(endings)
  const quoted = (path: string) => new RegExp(`["'\`]${path}/?["'\`]`)
  for (const path of healthPaths) {
    const source = sources.find((one) => quoted(path).test(one.text))
    if (source !== undefined) {
      const slash = new RegExp(`["'\`]${path}/["'\`]`).test(source.text) ? '/' : ''
      return { value: path + slash, why: `Answers 200 to 399 once the application serves; ${source.path} has it.` }
    }
  }
  const routes = sources.flatMap((source) =>
    [
      ...source.text.matchAll(
        /(?:\.get|\.route|\bget|GetFunc|HandleFunc|\.GET)\s*\(?\s*["'`](?:GET )?(\/[A-Za-z0-9/_-]*)["'`]/g,
      ),
    ].map((match) => match[1]!),
  )
  const route = routes.length === 0 || routes.includes('/') ? '/' : routes[0]!
  return { value: route, why: 'Must answer 200 to 399 once the application serves, without a login.' }
}
