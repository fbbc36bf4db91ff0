import { realpathSync } from 'node:fs'
import { join, relative } from 'node:path'
import { withFrontend } from './frontend.ts'
import { recogniseGo } from './go.ts'
import { nodePackageOf, recogniseNode } from './node.ts'
import { recognisePhp } from './php.ts'
import { readProcfile } from './procfile.ts'
import { Project } from './project.ts'
import type { Proposal, Stack } from './proposal.ts'
import { recognisePython } from './python.ts'
import { repositoryAround, type Repository } from './repository.ts'
import { recogniseRuby } from './ruby.ts'
import { recogniseStaticSite } from './static-site.ts'
import { workspaceAround, workspacesOf } from './workspace.ts'

/**
 * What stands in a directory, and how to build and run it. Reads files, runs nothing. Where it is unsure it says so in
 * `notes`; where it recognises nothing, the proposal has no service.
 */
export function recognise(directory: string): Proposal {
  const project = new Project(realpathSync(directory))
  const repository = repositoryAround(project.directory)
  const found =
    inWorkspace(project, repository) ??
    inMonorepo(project, repository) ??
    inDirectory(project, repository) ??
    inFolder(project, repository) ??
    unknown(project, repository)
  const stack = withHandover(found.project, withProcfile(found.project, found.stack))
  const notes = [...stack.notes]
  if (repository === null)
    notes.unshift(
      'This is not in a git repository: set "source" to one, or deploy the files as they are with: dploy deploy --directory .',
    )
  return {
    ...stack,
    notes,
    application: nameOf(found.project),
    source: found.source,
    branch: repository?.branch ?? null,
  }
}

interface Found {
  project: Project
  stack: Stack
  source: Proposal['source']
}

/** The directory is one workspace of a monorepo whose lock file stands above it: it is built from there. */
function inWorkspace(project: Project, repository: Repository | null): Found | null {
  if (repository === null || repository.inside === '') return null
  const around = workspaceAround(project.directory, repository.root)
  const stack = around === null ? null : recogniseNode(around.root, around.workspace)
  if (around === null || stack === null) return null
  const subfolder = relative(repository.root, around.root.directory)
  return {
    project,
    stack,
    source: {
      value: {
        repository: relative(project.directory, repository.root),
        subfolder: subfolder === '' ? null : subfolder,
      },
      why: 'The whole monorepo: the lock file and the packages that it shares stand above.',
    },
  }
}

const likely = /(^|\/)(web|app|server|api|backend|site|www|frontend|client)$/

/** The directory is the root of a monorepo: the workspace that looks like an application is proposed. */
function inMonorepo(project: Project, repository: Repository | null): Found | null {
  const applications = workspacesOf(project).flatMap((workspace) => {
    const stack = recogniseNode(project, workspace)
    return stack === null ? [] : [{ workspace, stack }]
  })
  const first =
    applications.find((one) => likely.test(one.workspace.path)) ??
    applications.find((one) => one.workspace.path.startsWith('apps/')) ??
    applications[0]
  if (first === undefined) return null
  const others = applications.filter((one) => one !== first).map((one) => one.workspace.path)
  const stack = {
    ...first.stack,
    notes: [
      `This is a monorepo; the commands are for ${first.workspace.path}.${others.length === 0 ? '' : ` For others (${others.join(', ')}) run dploy init there.`}`,
      ...first.stack.notes,
    ],
  }
  return {
    project: new Project(join(project.directory, first.workspace.path)),
    stack,
    source: subfolderSource(repository),
  }
}

function inDirectory(project: Project, repository: Repository | null): Found | null {
  const stack = recogniseStack(project)
  return stack === null ? null : { project, stack, source: subfolderSource(repository) }
}

/** Nothing stands here, but something does in a folder: `backend/`, `apps/web/`. */
function inFolder(project: Project, repository: Repository | null): Found | null {
  const folders = project
    .folders()
    .flatMap((folder) =>
      ['apps', 'packages', 'services'].includes(folder)
        ? project.folders(folder).map((name) => `${folder}/${name}`)
        : [folder],
    )
  const found = folders.slice(0, 50).flatMap((folder) => {
    const inner = new Project(join(project.directory, folder))
    const stack = recogniseStack(inner)
    return stack === null ? [] : [{ folder, inner, stack }]
  })
  const first = found.find((one) => likely.test(one.folder)) ?? found[0]
  if (first === undefined) return null
  const others = found.filter((one) => one !== first).map((one) => one.folder)
  const repositoryPath =
    repository === null || repository.inside === '' ? '.' : relative(project.directory, repository.root)
  return {
    project: first.inner,
    stack: {
      ...first.stack,
      notes: [
        `The application stands in ${first.folder}.${others.length === 0 ? '' : ` For others (${others.join(', ')}) run dploy init there.`}`,
        ...first.stack.notes,
      ],
    },
    source: {
      value: { repository: repositoryPath, subfolder: join(repository?.inside ?? '', first.folder) },
      why: 'Only this folder of the repository is the application.',
    },
  }
}

function unknown(project: Project, repository: Repository | null): Found {
  const notes = [
    'What stands here was not recognised: fill in build.command, and service with a command that starts the application, or leave the service out for plain files.',
  ]
  return { project, stack: { name: 'files', notes }, source: subfolderSource(repository) }
}

/** The most telling first: many applications also have a package.json, for their styles or their tools. */
function recogniseStack(project: Project): Stack | null {
  const front = (stack: Stack | null) => (stack === null ? null : withFrontend(project, stack))
  const python = () => front(recognisePython(project))
  const stack =
    recogniseRuby(project) ??
    front(recognisePhp(project)) ??
    front(recogniseGo(project)) ??
    (project.isFile('manage.py') ? python() : null) ??
    recogniseNode(project) ??
    python() ??
    recogniseStaticSite(project)
  if (stack !== null) return stack
  return readProcfile(project).has('web') ? { name: 'an application with a Procfile', notes: [] } : null
}

/** Who knows of handed-over sockets says so in the source (sd_listen_fds(3)); whoever listens on PORT can be given another one. */
function withHandover(project: Project, stack: Stack): Stack {
  if (stack.service?.command === undefined) return stack
  const takesSocket = project
    .sources(['.js', '.mjs', '.cjs', '.ts', '.py', '.rb', '.go'])
    .some(({ text }) => text.includes('LISTEN_FDS'))
  const handover = takesSocket
    ? {
        value: 'socket' as const,
        why: 'The source knows of handed-over sockets (LISTEN_FDS): a new release can take over beside the old one, without a restart.',
      }
    : {
        value: 'port' as const,
        why: 'It listens on PORT: a new release can boot on another port and take over beside the old one, without a restart.',
      }
  return { ...stack, service: { ...stack.service, handover } }
}

/** A Procfile says in the person's own words what the other files only suggest. */
function withProcfile(project: Project, stack: Stack): Stack {
  const commands = readProcfile(project)
  const web = commands.get('web')
  const release = commands.get('release')
  const inEnvironment = (command: string) =>
    stack.afterStage?.value.includes('.venv') === true
      ? command.replace(/^(gunicorn|uvicorn|hypercorn|daphne|waitress-serve|python3?)\b/, (name) =>
          name.startsWith('python') ? '.venv/bin/python' : `.venv/bin/python -m ${name.replace('-serve', '')}`,
        )
      : command
  const others = [...commands.keys()].filter((name) => name !== 'web' && name !== 'release')
  return {
    ...stack,
    ...(web === undefined
      ? {}
      : {
          service: {
            port: stack.service?.port ?? {
              value: 5000,
              why: 'Given to the process as PORT; the health check asks there.',
            },
            health: stack.service?.health ?? {
              value: '/',
              why: 'Must answer 200 to 399 once the application serves, without a login.',
            },
            ...(stack.service?.host === undefined ? {} : { host: stack.service.host }),
            command: { value: inEnvironment(web), why: 'From the Procfile: web.' },
          },
        }),
    ...(release === undefined
      ? {}
      : {
          releaseCommand: {
            value: inEnvironment(release),
            why: 'From the Procfile: release. Once per deployment, before the first server switches.',
          },
        }),
    notes:
      others.length === 0
        ? stack.notes
        : [
            ...stack.notes,
            `The Procfile has more processes (${others.join(', ')}): each needs a dploy.yml of its own.`,
          ],
  }
}

function subfolderSource(repository: Repository | null): Proposal['source'] {
  if (repository === null || repository.inside === '') return null
  const up = repository.inside
    .split('/')
    .map(() => '..')
    .join('/')
  return {
    value: { repository: up, subfolder: repository.inside },
    why: 'Only this folder of the repository is the application.',
  }
}

function nameOf(project: Project): string {
  const named = nodePackageOf(project)?.name ?? project.name
  const name = named
    .replace(/^@[^/]*\//, '')
    .replace(/[^A-Za-z0-9._-]+/g, '-')
    .replace(/^[._-]+|[._-]+$/g, '')
    .slice(0, 63)
  return name === '' ? 'app' : name
}
