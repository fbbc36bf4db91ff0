import { frameworkOf, type NodeFramework } from './node-framework.ts'
import { packageManagerOf, type PackageManager } from './package-manager.ts'
import { portOf } from './port.ts'
import { Project } from './project.ts'
import type { Explained, Stack } from './proposal.ts'
import { healthPathOf } from './routes.ts'
import { staticService, webServerNote } from './static-site.ts'

/** package.json, as far as proposals need it. */
export interface NodePackage {
  name: string
  scripts: Record<string, string>
  dependencies: Record<string, string>
  devDependencies: Record<string, string>
}

/** The workspace of a JavaScript monorepo that is deployed; its path is relative to the root. */
export interface Workspace {
  path: string
  name: string
}

const keptCache = 'Kept from one build to the next, which makes it faster.'
const endings = ['.js', '.mjs', '.cjs', '.ts', '.mts']
/** Packages with compiled parts: what was installed on a Mac does not run on Linux. */
const compiled = [
  'bcrypt',
  'argon2',
  'sharp',
  'better-sqlite3',
  'sqlite3',
  'canvas',
  'prisma',
  '@prisma/client',
  'isolated-vm',
  're2',
  'usb',
  'zeromq',
  'libpq',
  'pg-native',
  '@napi-rs/canvas',
  'node-pty',
]

/** The package.json of a directory; null if it has none that can be read. */
export function nodePackageOf(project: Project): NodePackage | null {
  const json = project.json('package.json')
  if (json === null) return null
  return {
    name: typeof json['name'] === 'string' ? json['name'] : project.name,
    scripts: texts(json['scripts']),
    dependencies: texts(json['dependencies']),
    devDependencies: texts(json['devDependencies']),
  }
}

/** Node: a server, or a site that a build makes. With `workspace` the project is the root, and the workspace is what is deployed. */
export function recogniseNode(root: Project, workspace?: Workspace): Stack | null {
  const project = workspace === undefined ? root : new Project(`${root.directory}/${workspace.path}`)
  const found = nodePackageOf(project)
  if (found === null) return null
  const manager = packageManagerOf(root)
  const framework = frameworkOf(project, found)
  const at = workspace === undefined ? '' : `${workspace.path}/`
  if (framework.output !== null) return site(found, manager, framework, at, workspace)
  const start = startOf(project, found, manager, framework.start, workspace)
  return start === null ? null : server(project, found, manager, framework, start, at, workspace)
}

function site(
  found: NodePackage,
  manager: PackageManager,
  framework: NodeFramework,
  at: string,
  workspace: Workspace | undefined,
): Stack {
  const output = at + framework.output
  return {
    name: `a site made by ${framework.name}`,
    build: {
      command: {
        value: [manager.install, ...buildScript(found, manager, workspace)].join(' && '),
        why: 'The site is made once; the servers get only its files, and need no Node.',
      },
      ship: { value: [output], why: 'Only the finished site.' },
      ...(framework.cache.length === 0
        ? {}
        : { cache: { value: framework.cache.map((path) => at + path), why: keptCache } }),
      // With CI set to true, react-scripts takes every warning for an error.
      ...(framework.name === 'Create React App'
        ? { variables: { CI: { value: 'false', why: 'Otherwise react-scripts takes warnings for errors.' } } }
        : {}),
    },
    service: staticService(output),
    notes: [webServerNote(output), ...lockFileNotes(manager)],
  }
}

function server(
  project: Project,
  found: NodePackage,
  manager: PackageManager,
  framework: NodeFramework,
  start: string,
  at: string,
  workspace: Workspace | undefined,
): Stack {
  const { port, fixed } = framework.readsPort ? { port: usualPort, fixed: false } : portOf(project, endings, 3000)
  const migration = migrationOf(project, found, manager, workspace)
  const used = `${start} ${found.scripts['start'] ?? ''} ${migration ?? ''}`
  const keepsDevelopment =
    Object.keys(found.devDependencies).some((name) =>
      new RegExp(`(^|[\\s/])${name.replace(/[/\\^$*+?.()|[\]{}]/g, '\\$&')}(\\s|$)`).test(used),
    ) || 'prisma' in found.devDependencies
  const installed = installation(found, manager, framework, keepsDevelopment, workspace)
  const notes = ['The servers need Node, in the version that the application is made for.', ...installed.notes]
  if (fixed) notes.push('The application does not read PORT: only one instance can run on a server.')
  if (
    'fastify' in found.dependencies &&
    !project.sources(endings).some((one) => /0\.0\.0\.0|["']::["']|\bHOST\b/.test(one.text))
  ) {
    notes.push('Fastify listens on localhost only: for a balancer on another machine pass host: "0.0.0.0" to listen.')
  }
  return {
    name: framework.name === '' ? 'Node' : `Node with ${framework.name}`,
    build: {
      ...(installed.build === null ? {} : { command: installed.build }),
      ...(framework.ship === null
        ? {}
        : { ship: { value: framework.ship.map((path) => at + path), why: 'The build puts all that it needs there.' } }),
      ...(installed.leaveOut.length + framework.cache.length === 0
        ? {}
        : {
            leaveOut: {
              value: [...installed.leaveOut, ...framework.cache.map((path) => `${at}${path}/**`)],
              why: 'What a server does not need.',
            },
          }),
      ...(framework.cache.length === 0
        ? {}
        : { cache: { value: framework.cache.map((path) => at + path), why: keptCache } }),
    },
    service: {
      command: { value: start, why: 'Starts the application; it has to stay in the foreground.' },
      port,
      health: framework.readsPort
        ? { value: '/', why: 'Must answer 200 to 399 once the application serves, without a login.' }
        : healthPathOf(project, endings),
    },
    ...(installed.afterStage === null ? {} : { afterStage: installed.afterStage }),
    ...(migration === null
      ? {}
      : {
          releaseCommand: {
            value: migration,
            why: 'Migrations, once per deployment; the old release still serves, so it must live with the new schema.',
          },
        }),
    variables: {
      NODE_ENV: { value: 'production', why: 'How Node packages know that they serve for real.' },
      ...framework.variables,
    },
    notes,
  }
}

const usualPort: Explained<number> = { value: 3000, why: 'Given to the process as PORT; the health check asks there.' }

interface Installation {
  build: Explained<string> | null
  afterStage: Explained<string> | null
  leaveOut: string[]
  notes: string[]
}

/** Where the packages are installed: once in the build and shipped with it, or, with compiled parts, on each server. */
function installation(
  found: NodePackage,
  manager: PackageManager,
  framework: NodeFramework,
  keepsDevelopment: boolean,
  workspace: Workspace | undefined,
): Installation {
  const all = [...Object.keys(found.dependencies), ...Object.keys(found.devDependencies)]
  const script = [...buildScript(found, manager, workspace), ...framework.afterBuild]
  if (all.length === 0 && workspace === undefined) {
    return {
      build: script.length === 0 ? null : { value: script.join(' && '), why: 'Runs once per revision.' },
      afterStage: null,
      leaveOut: [],
      notes: [],
    }
  }
  const notes = lockFileNotes(manager)
  const exactly = manager.lockFile === null ? 'Installs the packages' : `Installs exactly what ${manager.lockFile} says`
  if (framework.bundled)
    return {
      build: {
        value: [manager.install, ...script].join(' && '),
        why: `${exactly}, then builds. Runs once per revision.`,
      },
      afterStage: null,
      leaveOut: [],
      notes,
    }
  const native = compiled.filter((name) => name in found.dependencies || (name === 'prisma' && all.includes(name)))
  if (native.length > 0) {
    return {
      build:
        script.length === 0
          ? null
          : {
              value: [manager.install, ...script].join(' && '),
              why: `${exactly}, then builds. Runs once per revision.`,
            },
      afterStage: {
        value: keepsDevelopment ? manager.install : manager.installProduction,
        why: `Packages are installed on each server, before anything is switched: ${native.join(', ')} ${native.length === 1 ? 'has' : 'have'} compiled parts that must fit it.`,
      },
      leaveOut: ['node_modules/**'],
      notes: [
        ...notes,
        `The servers need ${manager.name}. If builds run on the same kind of Linux as the servers, install in build.command instead: that is faster.`,
      ],
    }
  }
  // Nothing is built, so nothing for the build has to be installed.
  const commands =
    script.length === 0
      ? [keepsDevelopment ? manager.install : manager.installProduction]
      : [
          manager.install,
          ...script,
          ...(keepsDevelopment || Object.keys(found.devDependencies).length === 0 ? [] : [manager.prune]),
        ]
  return {
    build: {
      value: commands.join(' && '),
      why: `${exactly}${script.length === 0 ? '' : ', then builds'}. Runs once per revision; node_modules is shipped with it.`,
    },
    afterStage: null,
    leaveOut: [],
    notes,
  }
}

function lockFileNotes(manager: PackageManager): string[] {
  return manager.lockFile === null
    ? [`There is no lock file: run ${manager.name} install and commit it, so that every build gets the same packages.`]
    : []
}

function buildScript(found: NodePackage, manager: PackageManager, workspace: Workspace | undefined): string[] {
  return found.scripts['build'] === undefined ? [] : [manager.run('build', workspace)]
}

/** The command that starts the server; null if there is none. Programs directly where that is safe: npm does not always pass signals on. */
function startOf(
  project: Project,
  found: NodePackage,
  manager: PackageManager,
  preferred: string | null,
  workspace: Workspace | undefined,
): string | null {
  const inWorkspace = (command: string) =>
    workspace === undefined ? command : `cd ${workspace.path} && exec ${command}`
  if (preferred !== null) return inWorkspace(preferred)
  const name = ['start:prod', 'start:production', 'serve:prod', 'start'].find((one) => found.scripts[one] !== undefined)
  if (name !== undefined) {
    const script = found.scripts[name]!.replace(/^(?:cross-env\s+)?(?:NODE_ENV=production\s+)?/, '').trim()
    const plain = /^[\w@./:=,-]+(\s+[\w@./:=,-]+)*$/.test(script) && found.scripts[`pre${name}`] === undefined
    if (/^nodemon\b/.test(script) && plain) return inWorkspace(script.replace(/^nodemon/, 'node'))
    if (plain && /^node\s/.test(script)) return inWorkspace(script)
    const program = script.split(/\s/)[0]!
    if (plain && workspace === undefined && binOf(program, found)) return `node_modules/.bin/${script}`
    return manager.run(name, workspace)
  }
  const main = project.json('package.json')?.['main']
  const entries = [
    ...(typeof main === 'string' ? [main] : []),
    'server.js',
    'app.js',
    'index.js',
    'src/server.js',
    'src/index.js',
    'server.mjs',
    'index.mjs',
    'main.js',
  ]
  const entry = entries.find(
    (path) => project.isFile(path) && /\.listen\(|createServer|serve\(/.test(project.text(path)),
  )
  return entry === undefined ? null : inWorkspace(`node ${entry.replace(/^\.\//, '')}`)
}

/** Whether a program is one that a dependency brings: most are called like their package. */
function binOf(program: string, found: NodePackage): boolean {
  const bins: Record<string, string> = {
    nest: '@nestjs/cli',
    fastify: 'fastify-cli',
    'remix-serve': '@remix-run/serve',
    'react-router-serve': '@react-router/serve',
    'ts-node': 'ts-node',
  }
  const name = bins[program] ?? program
  return name in found.dependencies || name in found.devDependencies
}

function migrationOf(
  project: Project,
  found: NodePackage,
  manager: PackageManager,
  workspace: Workspace | undefined,
): string | null {
  const script = ['db:migrate:deploy', 'migrate:deploy', 'migrate:prod', 'db:migrate', 'db:deploy', 'migrate'].find(
    (name) => found.scripts[name] !== undefined && !/\bmigrate dev\b|\bdb push\b/.test(found.scripts[name]!),
  )
  if (script !== undefined) return manager.run(script, workspace)
  const bin = (command: string) => (workspace === undefined ? `node_modules/.bin/${command}` : null)
  const has = (name: string) => name in found.dependencies || name in found.devDependencies
  if (has('prisma') && project.isDirectory('prisma/migrations')) return bin('prisma migrate deploy')
  if (has('knex') && project.firstFile(['knexfile.js', 'knexfile.ts', 'knexfile.mjs', 'knexfile.cjs']) !== null)
    return bin('knex migrate:latest')
  if (has('sequelize-cli')) return bin('sequelize-cli db:migrate')
  if (
    has('drizzle-kit') &&
    project.firstFile(['drizzle.config.ts', 'drizzle.config.js', 'drizzle.config.mjs']) !== null
  )
    return bin('drizzle-kit migrate')
  return null
}

function texts(value: unknown): Record<string, string> {
  if (typeof value !== 'object' || value === null) return {}
  return Object.fromEntries(
    Object.entries(value).filter((entry): entry is [string, string] => typeof entry[1] === 'string'),
  )
}
