import type { Project } from './project.ts'
import type { Explained, Stack } from './proposal.ts'

/** Plain files: index.html where the repository begins, or in the folder that usually holds them. */
export function recogniseStaticSite(project: Project): Stack | null {
  const folder = ['.', 'public', 'site', 'www', 'html', 'docs', 'dist', 'htdocs', 'static'].find((one) =>
    project.isFile(`${one}/index.html`),
  )
  if (folder === undefined) return null
  return {
    name: 'a static site',
    build: folder === '.' ? {} : { ship: { value: [folder], why: 'Only the site itself.' } },
    service: staticService(folder),
    notes: [webServerNote(folder)],
  }
}

/** Serves a folder of files. Python stands on nearly every server, and needs no installation there. */
export function staticService(folder: string): NonNullable<Stack['service']> {
  const command: Explained<string> = {
    value: folder === '.' ? 'python3 -m http.server "$PORT"' : `python3 -m http.server "$PORT" --directory ${folder}`,
    why: 'A small file server. Where nginx or Caddy serves the files (from current/), leave out the whole service.',
  }
  return {
    command,
    port: { value: 8080, why: 'Given to the process as PORT; the health check asks there.' },
    health: { value: '/', why: 'The front page has to answer.' },
  }
}

/** The same advice wherever a folder of files is served. */
export function webServerNote(folder: string): string {
  return `For more than a little traffic let nginx or Caddy serve DIRECTORY/current${folder === '.' ? '' : `/${folder}`} and remove "service": files then switch in an instant.`
}
