import { dirname, relative } from 'node:path'
import { nodePackageOf, type Workspace } from './node.ts'
import { Project } from './project.ts'

/** The workspaces of a JavaScript monorepo (npm, yarn, pnpm, bun); empty if the directory is not the root of one. */
export function workspacesOf(project: Project): Workspace[] {
  const declared = project.json('package.json')?.['workspaces']
  const patterns = Array.isArray(declared)
    ? declared
    : Array.isArray((declared as { packages?: unknown })?.packages)
      ? (declared as { packages: unknown[] }).packages
      : pnpmPatterns(project)
  const paths = patterns
    .filter((pattern): pattern is string => typeof pattern === 'string' && !pattern.startsWith('!'))
    .flatMap((pattern) => expand(project, pattern.replace(/^\.\//, '').replace(/\/$/, '')))
  return [...new Set(paths)].flatMap((path) => {
    const found = nodePackageOf(new Project(`${project.directory}/${path}`))
    return found === null ? [] : [{ path, name: found.name }]
  })
}

/** The monorepo that a directory is a workspace of, looking up to `top`. */
export function workspaceAround(directory: string, top: string): { root: Project; workspace: Workspace } | null {
  for (let at = directory; at !== top && dirname(at) !== at;) {
    at = dirname(at)
    const root = new Project(at)
    const workspace = workspacesOf(root).find((one) => one.path === relative(at, directory))
    if (workspace !== undefined) return { root, workspace }
  }
  return null
}

function pnpmPatterns(project: Project): string[] {
  const packages = /^packages:\s*\n((?:[ \t]*(?:-.*|#.*)?\n?)*)/m.exec(project.text('pnpm-workspace.yaml'))?.[1] ?? ''
  return [...packages.matchAll(/^[ \t]*-\s*["']?([^"'#\s]+)/gm)].map((match) => match[1]!)
}

function expand(project: Project, pattern: string): string[] {
  const star = pattern.indexOf('*')
  if (star < 0) return project.isDirectory(pattern) ? [pattern] : []
  const folder = pattern.slice(0, star).replace(/\/$/, '')
  return project.folders(folder === '' ? '.' : folder).map((name) => (folder === '' ? name : `${folder}/${name}`))
}
