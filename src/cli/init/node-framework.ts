import type { NodePackage } from './node.ts'
import type { Project } from './project.ts'
import type { Explained } from './proposal.ts'

/** What the framework of a Node application says about building and starting it. */
export interface NodeFramework {
  /** Empty for none that is known. */
  name: string
  /** The folder of finished files when the build makes a site that needs no server; else null. */
  output: string | null
  /** The command that serves the build; null where the start script says it. */
  start: string | null
  /** What to ship where the build puts all that it needs in one place. */
  ship: string[] | null
  /** What has to follow the build script. */
  afterBuild: string[]
  /** Whether the build already holds the packages it needs. */
  bundled: boolean
  cache: string[]
  /** Whether the framework itself listens on PORT. */
  readsPort: boolean
  variables: Record<string, Explained<string>>
}

const plain: NodeFramework = {
  name: '',
  output: null,
  start: null,
  ship: null,
  afterBuild: [],
  bundled: false,
  cache: [],
  readsPort: false,
  variables: {},
}
const everywhere = { value: '0.0.0.0', why: 'Listens on all addresses, for a balancer on another machine.' }

/** The framework, by the packages it consists of. */
export function frameworkOf(project: Project, found: NodePackage): NodeFramework {
  const has = (name: string) => name in found.dependencies || name in found.devDependencies
  const configured = (name: string) =>
    ['.js', '.mjs', '.ts', '.mts', '.cjs'].map((ending) => project.text(name + ending)).join('\n')
  if (has('next')) return next(project, configured('next.config'))
  if (has('nuxt'))
    return {
      ...plain,
      name: 'Nuxt',
      start: 'node .output/server/index.mjs',
      ship: ['.output'],
      bundled: true,
      readsPort: true,
    }
  if (has('@sveltejs/kit')) {
    if (has('@sveltejs/adapter-static')) return { ...plain, name: 'SvelteKit', output: 'build' }
    if (has('@sveltejs/adapter-node')) return { ...plain, name: 'SvelteKit', start: 'node build', readsPort: true }
  }
  if (has('astro'))
    return has('@astrojs/node')
      ? {
          ...plain,
          name: 'Astro',
          start: 'node dist/server/entry.mjs',
          readsPort: true,
          variables: { HOST: everywhere },
        }
      : { ...plain, name: 'Astro', output: 'dist' }
  if (has('@remix-run/serve')) return { ...plain, name: 'Remix', readsPort: true }
  if (has('@react-router/serve')) return { ...plain, name: 'React Router', readsPort: true }
  if (has('@nestjs/core'))
    return { ...plain, name: 'NestJS', start: found.scripts['start:prod'] === undefined ? 'node dist/main.js' : null }
  if (has('fastify-cli'))
    return { ...plain, name: 'Fastify', readsPort: true, variables: { FASTIFY_ADDRESS: everywhere } }
  const server = Object.entries(servers).find(([name]) => name in found.dependencies)
  if (server !== undefined) return { ...plain, name: server[1] }
  const site = sites.find((one) => has(one.package))
  if (site !== undefined && servesItself(found))
    return {
      ...plain,
      name: site.name,
      output: site.package === '@angular/core' ? angularOutput(project) : site.output,
    }
  return plain
}

const servers: Record<string, string> = {
  fastify: 'Fastify',
  express: 'Express',
  koa: 'Koa',
  '@hapi/hapi': 'hapi',
  hono: 'Hono',
  '@hono/node-server': 'Hono',
  polka: 'Polka',
  restify: 'Restify',
  '@adonisjs/core': 'AdonisJS',
}

const sites = [
  { package: 'react-scripts', name: 'Create React App', output: 'build' },
  { package: 'gatsby', name: 'Gatsby', output: 'public' },
  { package: '@docusaurus/core', name: 'Docusaurus', output: 'build' },
  { package: '@11ty/eleventy', name: 'Eleventy', output: '_site' },
  { package: '@angular/core', name: 'Angular', output: 'dist' },
  { package: '@vue/cli-service', name: 'Vue CLI', output: 'dist' },
  { package: 'vitepress', name: 'VitePress', output: '.vitepress/dist' },
  { package: 'vite', name: 'Vite', output: 'dist' },
  { package: 'parcel', name: 'Parcel', output: 'dist' },
]

/** A start script that only runs the development server does not make a site a server. */
function servesItself(found: NodePackage): boolean {
  const start = found.scripts['start']
  if (found.scripts['build'] === undefined) return false
  return (
    start === undefined ||
    /^(npx )?(react-scripts|vite|gatsby|docusaurus|eleventy|@11ty|ng|vue-cli-service|parcel|vitepress|serve|http-server|npm run (dev|develop|serve))\b/.test(
      start,
    )
  )
}

function next(project: Project, config: string): NodeFramework {
  if (/output:\s*["']export["']/.test(config))
    return { ...plain, name: 'Next.js', output: 'out', cache: ['.next/cache'] }
  if (/output:\s*["']standalone["']/.test(config)) {
    // Next leaves to the person what a content delivery network could serve.
    const afterBuild = [
      'cp -R .next/static .next/standalone/.next/',
      ...(project.isDirectory('public') ? ['cp -R public .next/standalone/'] : []),
    ]
    return {
      ...plain,
      name: 'Next.js',
      start: 'node .next/standalone/server.js',
      ship: ['.next/standalone'],
      afterBuild,
      bundled: true,
      cache: ['.next/cache'],
      readsPort: true,
      variables: { HOSTNAME: everywhere },
    }
  }
  return { ...plain, name: 'Next.js', start: 'node_modules/.bin/next start', cache: ['.next/cache'], readsPort: true }
}

function angularOutput(project: Project): string {
  const projects = project.json('angular.json')?.['projects']
  const first = typeof projects === 'object' && projects !== null ? Object.keys(projects)[0] : undefined
  const modern =
    Number(
      /\d+/.exec(
        String(
          project.json('package.json')?.['dependencies'] !== undefined
            ? (project.json('package.json')!['dependencies'] as Record<string, string>)['@angular/core']
            : '',
        ),
      )?.[0] ?? 0,
    ) >= 17
  return first === undefined ? 'dist' : `dist/${first}${modern ? '/browser' : ''}`
}
