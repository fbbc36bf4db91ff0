import { portOf } from './port.ts'
import type { Project } from './project.ts'
import type { Explained, Stack } from './proposal.ts'
import { installOf, type PythonInstall } from './python-install.ts'
import { healthPathOf } from './routes.ts'

/** Python: Django, an ASGI or WSGI application, or a program that serves by itself. */
export function recognisePython(project: Project): Stack | null {
  const stands =
    project.firstFile(['requirements.txt', 'pyproject.toml', 'Pipfile', 'setup.py', 'manage.py']) !== null ||
    project.list().some((name) => name.endsWith('.py'))
  if (!stands) return null
  const install = installOf(project)
  return django(project, install) ?? asgiOrWsgi(project, install) ?? ownServer(project, install)
}

const usualPort: Explained<number> = { value: 8000, why: 'Given to the process as PORT; the health check asks there.' }
const everywhere = 'on all addresses, for a balancer on another machine (127.0.0.1 when it is on the same one)'
const unbuffered = { PYTHONUNBUFFERED: { value: '1', why: 'What the application prints appears in the log at once.' } }

function stackOf(install: PythonInstall, rest: Omit<Stack, 'build' | 'afterStage'>, extra: string[] = []): Stack {
  const afterStage = install.command(extra)
  return {
    ...rest,
    ...(afterStage === null
      ? {}
      : {
          afterStage: {
            value: afterStage,
            why: 'Makes a virtual environment inside the release, on each server, before anything is switched.',
          },
        }),
    variables: { ...unbuffered, ...rest.variables },
    notes: [
      ...rest.notes,
      ...(afterStage === null ? [] : [install.needs]),
      ...extra.map(
        (name) =>
          `${name} is not among the dependencies: it is installed beside them. Better add it to them, with its version.`,
      ),
    ],
  }
}

function django(project: Project, install: PythonInstall): Stack | null {
  if (!project.isFile('manage.py')) return null
  const named = /DJANGO_SETTINGS_MODULE["']\s*,\s*["']([\w.]+)["']/.exec(project.text('manage.py'))?.[1]
  if (named === undefined) return null
  const parent = named.slice(0, Math.max(0, named.lastIndexOf('.')))
  const production = ['production', 'prod']
    .map((one) => `${/\.settings\.\w+$/.test(named) ? parent : named}.${one}`)
    .find((module) => project.isFile(`${module.replaceAll('.', '/')}.py`))
  const settings = [named, ...(production === undefined ? [] : [production])].flatMap((module) => [
    `${module.replaceAll('.', '/')}.py`,
    `${module.replaceAll('.', '/')}/__init__.py`,
    `${module.replaceAll('.', '/')}/base.py`,
  ])
  const settingsText = [...settings, `${parent.replaceAll('.', '/')}/base.py`]
    .map((path) => project.text(path))
    .join('\n')
  const root = named.split('.')[0]!
  const wsgi = project.isFile(`${root}/wsgi.py`)
    ? `${root}.wsgi`
    : (project.sources(['wsgi.py'])[0]?.path.replace(/\.py$/, '').replaceAll('/', '.') ?? `${root}.wsgi`)
  const asgi = /^ASGI_APPLICATION\s*=/m.test(settingsText) && install.has('uvicorn')
  const python = install.python
  const extra = install.has('gunicorn') ? [] : ['gunicorn']
  const collect = /^\s*STATIC_ROOT\s*=/m.test(settingsText)
  const host = /^ALLOWED_HOSTS\s*=\s*\[\s*["']([\w.-]+)["']/m.exec(settingsText)?.[1]?.replace(/^\./, '')
  const notes = [
    'Django answers 400 to the health check unless ALLOWED_HOSTS has the Host it is asked with: service.health.host, by default localhost.',
  ]
  if (/sqlite3/.test(settingsText) && !/DATABASE_URL|postgres|mysql/i.test(settingsText)) {
    notes.push(
      'The database is SQLite inside the release, so each release would begin with an empty one: keep the file outside, or use PostgreSQL.',
    )
  }
  const stack = stackOf(
    install,
    {
      name: 'Python with Django',
      shared: /^\s*MEDIA_ROOT\s*=/m.test(settingsText)
        ? [{ value: 'media', why: 'What users upload outlives a release (MEDIA_ROOT).' }]
        : [],
      service: {
        command: asgi
          ? {
              value: `${python} -m uvicorn ${wsgi.replace(/wsgi$/, 'asgi')}:application --host 0.0.0.0 --port "$PORT"`,
              why: `Uvicorn, ${everywhere}.`,
            }
          : {
              value: `${python} -m gunicorn ${wsgi}:application --bind "0.0.0.0:$PORT" --workers 3 --access-logfile -`,
              why: `Gunicorn, ${everywhere}; workers: two per processor and one.`,
            },
        port: usualPort,
        health: djangoHealth(project),
        ...(host !== undefined && host !== '' && host !== 'localhost'
          ? { host: { value: host, why: 'A name out of ALLOWED_HOSTS.' } }
          : {}),
      },
      releaseCommand: {
        value: `${python} manage.py migrate --noinput`,
        why: 'Migrations, once per deployment; the old release still serves, so it must live with the new schema.',
      },
      variables:
        production === undefined
          ? {}
          : { DJANGO_SETTINGS_MODULE: { value: production, why: 'The settings for production.' } },
      notes,
    },
    asgi ? [] : extra,
  )
  if (collect)
    stack.afterStage = {
      value: [stack.afterStage?.value, `${python} manage.py collectstatic --noinput`].filter(Boolean).join(' && '),
      why: 'Makes a virtual environment inside the release, and collects the static files (STATIC_ROOT).',
    }
  return stack
}

/** Django's routes begin without a slash. */
function djangoHealth(project: Project): Explained<string> {
  for (const { path, text } of project.sources(['urls.py'])) {
    const found = /path\(\s*["'](healthz?\/?|health-?check\/?|_health\/?|up\/?|ping\/?|livez\/?)["']/.exec(text)?.[1]
    if (found !== undefined && path.split('/').length <= 2)
      return { value: `/${found}`, why: `Answers 200 to 399 once the application serves; ${path} has it.` }
  }
  return { value: '/', why: 'Must answer 200 to 399 once the application serves, without a login.' }
}

const frameworks = [
  { name: 'FastAPI', constructor: 'FastAPI', asgi: true },
  { name: 'Starlette', constructor: 'Starlette', asgi: true },
  { name: 'Litestar', constructor: 'Litestar', asgi: true },
  { name: 'Quart', constructor: 'Quart', asgi: true },
  { name: 'Flask', constructor: 'Flask', asgi: false },
  { name: 'Falcon', constructor: 'falcon\\.App', asgi: false },
  { name: 'Bottle', constructor: '(?:bottle\\.)?(?:Bottle|default_app)', asgi: false },
]

function asgiOrWsgi(project: Project, install: PythonInstall): Stack | null {
  const sources = project.sources(['.py']).sort((a, b) => a.path.split('/').length - b.path.split('/').length)
  for (const framework of frameworks) {
    const object = new RegExp(`^(\\w+)\\s*(?::[^=\\n]+)?=\\s*(?:\\w+\\.)?${framework.constructor}\\(`, 'm')
    const factory = new RegExp(`^def (create_app|make_app|get_app)\\([^]*?${framework.constructor}\\(`, 'm')
    const source = sources.find((one) => object.test(one.text)) ?? sources.find((one) => factory.test(one.text))
    if (source === undefined) continue
    const name = object.exec(source.text)?.[1]
    const made = name ?? `${factory.exec(source.text)![1]}`
    // A wsgi.py that a person wrote is the entry that they mean.
    const entry = framework.asgi ? null : project.firstFile(['wsgi.py'])
    const entryObject =
      entry === null ? null : (/^(?:from \S+ import .*\b)?(app|application)\b/m.exec(project.text(entry))?.[1] ?? 'app')
    const { folder, module } = moduleOf(source.path)
    const target = entry === null ? `${module}:${made}` : `wsgi:${entryObject}`
    const server = framework.asgi ? 'uvicorn' : 'gunicorn'
    const directory = entry === null && folder !== '' ? folder : null
    const isFactory = entry === null && name === undefined
    const command = framework.asgi
      ? `${install.python} -m uvicorn ${directory === null ? '' : `--app-dir ${directory} `}${isFactory ? '--factory ' : ''}${target} --host 0.0.0.0 --port "$PORT"`
      : `${install.python} -m gunicorn ${directory === null ? '' : `--chdir ${directory} `}"${target}${isFactory ? '()' : ''}" --bind "0.0.0.0:$PORT" --workers 3 --access-logfile -`
    return stackOf(
      install,
      {
        name: `Python with ${framework.name}`,
        service: {
          command: {
            value: framework.asgi ? command : command.replace(/"([\w.]+:\w+)"/, '$1'),
            why: `${framework.asgi ? 'Uvicorn' : 'Gunicorn'}, ${everywhere}.`,
          },
          port: usualPort,
          health: healthPathOf(project, ['.py']),
        },
        ...(install.has('alembic') && project.isFile('alembic.ini')
          ? {
              releaseCommand: {
                value: `${install.python} -m alembic upgrade head`,
                why: 'Migrations, once per deployment; the old release still serves, so it must live with the new schema.',
              },
            }
          : install.has('flask-migrate') && project.isDirectory('migrations')
            ? {
                releaseCommand: {
                  value: `${install.python} -m flask --app ${entry === null ? module : 'wsgi'} db upgrade`,
                  why: 'Migrations, once per deployment; the old release still serves, so it must live with the new schema.',
                },
              }
            : {}),
        notes: [],
      },
      install.has(server) || (server === 'uvicorn' && install.has('fastapi[standard]')) ? [] : [server],
    )
  }
  return null
}

/** A module is imported from the directory above its outermost package: `src/shop/web.py` is `shop.web` in `src`. */
function moduleOf(path: string): { folder: string; module: string } {
  const parts = path.replace(/\.py$/, '').split('/')
  const folder = parts.length > 1 && (parts[0] === 'src' || parts[0] === 'backend') ? parts.shift()! : ''
  if (parts.at(-1) === '__init__') parts.pop()
  return { folder, module: parts.join('.') }
}

/** A program with a server of its own: http.server, wsgiref, aiohttp, Tornado. */
function ownServer(project: Project, install: PythonInstall): Stack | null {
  const serves = /\b(HTTPServer|TCPServer|make_server|serve_forever|web\.run_app|IOLoop|HTTPServer)\b/
  const sources = project.sources(['.py']).filter((source) => serves.test(source.text))
  const source = sources.find((one) => /__main__/.test(one.text)) ?? sources[0]
  if (source === undefined) return null
  const program = source.path.endsWith('__main__.py')
    ? `-m ${source.path.replace(/\/?__main__\.py$/, '').replaceAll('/', '.')}`
    : source.path
  const { port, fixed } = portOf(project, ['.py'], 8000)
  const flag = /add_argument\([^)]*["'](--port|-p)["']/.exec(source.text)?.[1]
  const positional = flag === undefined && /int\(sys\.argv\[1\]\)/.test(source.text)
  const readsPort = /["']PORT["']/.test(source.text)
  const argument = readsPort ? '' : flag !== undefined ? ` ${flag} "$PORT"` : positional ? ' "$PORT"' : ''
  return stackOf(install, {
    name: 'Python with a server of its own',
    service: {
      command: {
        value: `${install.command([]) === null ? 'python3' : install.python} ${program}${argument}`,
        why: 'Starts the program; it has to stay in the foreground.',
      },
      port: argument === '' ? port : usualPort,
      health: healthPathOf(project, ['.py']),
    },
    notes:
      fixed && argument === '' ? [`${source.path} does not read PORT: only one instance can run on a server.`] : [],
  })
}
