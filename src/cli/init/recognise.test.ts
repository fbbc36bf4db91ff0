import assert from 'node:assert/strict'
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { test } from 'node:test'
import { inspectConfig } from '../../protocol/config/text.ts'
import type { Config } from '../../protocol/config/config.ts'
import { writeConfig } from './config-draft.ts'
import type { Proposal } from './proposal.ts'
import { recognise } from './recognise.ts'

type Files = Record<string, string | object>

interface Case {
  name: string
  files: Files
  /** Where in the files dploy init runs. */
  at?: string
  stack: string
  build?: string
  ship?: string[]
  leaveOut?: string[]
  command?: string
  port?: number
  health?: string
  afterStage?: string
  releaseCommand?: string
  shared?: string[]
  variables?: Record<string, string>
  source?: { repository: string; subfolder: string | undefined }
  restart?: string
  note?: RegExp
  check?: (config: Config, proposal: Proposal) => void
}

const git = { '.git/HEAD': 'ref: refs/heads/main\n' }
const lock = { 'package-lock.json': '{}' }
const pip =
  'python3 -m venv .venv && .venv/bin/python -m pip install --quiet --disable-pip-version-check -r requirements.txt'

const cases: Case[] = [
  {
    name: 'an Express application without a build installs what production needs, once',
    files: {
      'package.json': {
        name: '@acme/shop',
        scripts: { start: 'node server.js' },
        dependencies: { express: '5' },
        devDependencies: { nodemon: '3' },
      },
      ...lock,
      'server.js': "app.get('/healthz', ok); app.listen(process.env.PORT ?? 3000)",
    },
    stack: 'Node with Express',
    build: 'npm ci --omit=dev',
    command: 'node server.js',
    port: 3000,
    health: '/healthz',
    variables: { NODE_ENV: 'production' },
    check: (config) => assert.equal(config.application, 'shop'),
  },
  {
    name: 'a build takes away afterwards what only the build needed',
    files: {
      'package.json': {
        scripts: { build: 'tsc', start: 'NODE_ENV=production node dist/main.js' },
        dependencies: { koa: '2' },
        devDependencies: { typescript: '5' },
      },
      ...lock,
      'src/main.ts': 'app.listen(process.env.PORT)',
    },
    stack: 'Node with Koa',
    build: 'npm ci && npm run build && npm prune --omit=dev',
    command: 'node dist/main.js',
  },
  {
    name: 'an application that always listens on one port gets that port',
    files: {
      'package.json': { scripts: { start: 'node index.js' }, dependencies: { express: '4' } },
      'index.js': "app.get('/', hello)\napp.listen(4567)",
    },
    stack: 'Node with Express',
    build: 'npm install --omit=dev',
    command: 'node index.js',
    port: 4567,
    health: '/',
    note: /no lock file/,
  },
  {
    name: 'compiled packages are installed on each server',
    files: {
      'package.json': {
        scripts: { build: 'tsc', start: 'node dist/app.js' },
        dependencies: { fastify: '5', argon2: '0.40' },
        devDependencies: { typescript: '5' },
      },
      ...lock,
      'src/app.ts': "app.listen({ host: '0.0.0.0', port: process.env.PORT })",
    },
    stack: 'Node with Fastify',
    build: 'npm ci && npm run build',
    leaveOut: ['node_modules/**'],
    afterStage: 'npm ci --omit=dev',
    command: 'node dist/app.js',
  },
  {
    name: 'Prisma migrates once, and stays installed',
    files: {
      'package.json': {
        scripts: { start: 'node index.js' },
        dependencies: { express: '4', '@prisma/client': '5' },
        devDependencies: { prisma: '5' },
      },
      'pnpm-lock.yaml': '',
      'prisma/migrations/1/migration.sql': '',
      'index.js': 'app.listen(process.env.PORT)',
    },
    stack: 'Node with Express',
    afterStage: 'pnpm install --frozen-lockfile',
    releaseCommand: 'node_modules/.bin/prisma migrate deploy',
  },
  {
    name: 'a start script that needs a development package keeps it',
    files: {
      'package.json': {
        scripts: { start: 'tsx src/index.ts' },
        dependencies: { hono: '4' },
        devDependencies: { tsx: '4' },
      },
      ...lock,
      'src/index.ts': 'serve({ port: process.env.PORT })',
    },
    stack: 'Node with Hono',
    build: 'npm ci',
    command: 'node_modules/.bin/tsx src/index.ts',
  },
  {
    name: 'a start script of several commands stays with the package manager',
    files: {
      'package.json': { scripts: { start: 'node a.js && node b.js' }, dependencies: { express: '4' } },
      'yarn.lock': '# yarn lockfile v1',
    },
    stack: 'Node with Express',
    build: 'yarn install --frozen-lockfile --production',
    command: 'yarn run start',
  },
  {
    name: 'Node without any package needs no build',
    files: {
      'package.json': { name: 'tiny', main: './server.js' },
      'server.js': 'require("http").createServer(f).listen(process.env.PORT)',
    },
    stack: 'Node',
    command: 'node server.js',
    check: (config) => assert.equal(config.build.command, undefined),
  },
  {
    name: 'Next.js keeps its build cache and does not ship it',
    files: {
      'package.json': {
        scripts: { build: 'next build', start: 'next start' },
        dependencies: { next: '15', react: '19' },
      },
      ...lock,
    },
    stack: 'Node with Next.js',
    build: 'npm ci && npm run build',
    command: 'node_modules/.bin/next start',
    leaveOut: ['.next/cache/**'],
    check: (config) => assert.deepEqual(config.build.cache, ['.next/cache']),
  },
  {
    name: 'Next.js standalone ships only what it made',
    files: {
      'package.json': { scripts: { build: 'next build' }, dependencies: { next: '15' } },
      'bun.lock': '',
      'next.config.ts': "export default { output: 'standalone' }",
      'public/robots.txt': '',
    },
    stack: 'Node with Next.js',
    build:
      'bun install --frozen-lockfile && bun run build && cp -R .next/static .next/standalone/.next/ && cp -R public .next/standalone/',
    ship: ['.next/standalone'],
    command: 'node .next/standalone/server.js',
    variables: { NODE_ENV: 'production', HOSTNAME: '0.0.0.0' },
  },
  {
    name: 'Nuxt ships its output folder',
    files: { 'package.json': { scripts: { build: 'nuxt build' }, devDependencies: { nuxt: '3' } }, ...lock },
    stack: 'Node with Nuxt',
    build: 'npm ci && npm run build',
    ship: ['.output'],
    command: 'node .output/server/index.mjs',
  },
  {
    name: 'a Vite site needs no Node on the servers',
    files: {
      'package.json': { scripts: { dev: 'vite', build: 'vite build' }, devDependencies: { vite: '6' } },
      ...lock,
      'index.html': '',
    },
    stack: 'a site made by Vite',
    build: 'npm ci && npm run build',
    ship: ['dist'],
    command: 'python3 -m http.server "$PORT" --directory dist',
    port: 8080,
    health: '/',
  },
  {
    name: 'Create React App is not stopped by its own warnings',
    files: {
      'package.json': {
        scripts: { start: 'react-scripts start', build: 'react-scripts build' },
        dependencies: { 'react-scripts': '5' },
      },
      ...lock,
    },
    stack: 'a site made by Create React App',
    ship: ['build'],
    check: (config) => assert.deepEqual(config.build.variables, { CI: 'false' }),
  },
  {
    name: 'Vite beside an Express server is the server',
    files: {
      'package.json': {
        scripts: { build: 'vite build', start: 'node server.js' },
        dependencies: { express: '4' },
        devDependencies: { vite: '6' },
      },
      ...lock,
      'server.js': 'app.listen(process.env.PORT)',
    },
    stack: 'Node with Express',
    command: 'node server.js',
  },
  {
    name: 'Django migrates once, collects its static files, and is asked with an allowed host',
    files: {
      'manage.py': "os.environ.setdefault('DJANGO_SETTINGS_MODULE', 'mysite.settings')",
      'mysite/settings.py':
        "ALLOWED_HOSTS = ['.shop.example.org']\nSTATIC_ROOT = BASE_DIR / 'static'\nMEDIA_ROOT = BASE_DIR / 'media'\n",
      'mysite/urls.py': "urlpatterns = [path('healthz/', ok)]",
      'mysite/wsgi.py': '',
      'requirements.txt': 'Django==5.2\ngunicorn==23.0\n',
    },
    stack: 'Python with Django',
    afterStage: `${pip} && .venv/bin/python manage.py collectstatic --noinput`,
    command:
      '.venv/bin/python -m gunicorn mysite.wsgi:application --bind "0.0.0.0:$PORT" --workers 3 --access-logfile -',
    port: 8000,
    health: '/healthz/',
    releaseCommand: '.venv/bin/python manage.py migrate --noinput',
    shared: ['media'],
    check: (config) => assert.equal(config.service?.health.host, 'shop.example.org'),
  },
  {
    name: 'Django takes its production settings, and says that SQLite in a release is lost',
    files: {
      'manage.py': 'os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings.local")',
      'config/settings/local.py': "ENGINE = 'django.db.backends.sqlite3'",
      'config/settings/production.py': '',
      'config/wsgi.py': '',
      'uv.lock': 'name = "django"',
      'pyproject.toml': '[project]\ndependencies = ["django"]',
    },
    stack: 'Python with Django',
    afterStage: 'uv sync --frozen --no-dev && uv pip install --quiet --python .venv/bin/python gunicorn',
    variables: { PYTHONUNBUFFERED: '1', DJANGO_SETTINGS_MODULE: 'config.settings.production' },
    note: /SQLite/,
  },
  {
    name: 'Flask runs under gunicorn, which is added when it is missing',
    files: {
      'app.py': "from flask import Flask\napp = Flask(__name__)\n@app.route('/')\ndef home(): return 'hi'\n",
      'requirements.txt': 'flask\n',
    },
    stack: 'Python with Flask',
    afterStage: `${pip} gunicorn`,
    command: '.venv/bin/python -m gunicorn app:app --bind "0.0.0.0:$PORT" --workers 3 --access-logfile -',
    health: '/',
    note: /gunicorn is not among the dependencies/,
  },
  {
    name: 'a Flask factory in a package is called',
    files: {
      'shop/__init__.py': 'def create_app(config=None):\n    app = Flask(__name__)\n    return app\n',
      'requirements.txt': 'Flask==3\ngunicorn\n',
    },
    stack: 'Python with Flask',
    command: '.venv/bin/python -m gunicorn "shop:create_app()" --bind "0.0.0.0:$PORT" --workers 3 --access-logfile -',
  },
  {
    name: 'FastAPI runs under uvicorn, with Alembic for migrations',
    files: {
      'src/main.py': "app: FastAPI = FastAPI(title='x')\n@app.get('/api/health')\ndef h(): ...\n",
      'requirements.txt': 'fastapi[standard]==0.115\nalembic\nuvicorn\n',
      'alembic.ini': '',
    },
    stack: 'Python with FastAPI',
    command: '.venv/bin/python -m uvicorn --app-dir src main:app --host 0.0.0.0 --port "$PORT"',
    health: '/api/health',
    releaseCommand: '.venv/bin/python -m alembic upgrade head',
  },
  {
    name: "Python's own HTTP server gets its port as it wants it",
    files: {
      'server.py':
        "from http.server import ThreadingHTTPServer\nif __name__ == '__main__':\n    p.add_argument('--port', type=int)\n    ThreadingHTTPServer(('', a.port), H).serve_forever()\n",
    },
    stack: 'Python with a server of its own',
    command: 'python3 server.py --port "$PORT"',
    port: 8000,
    check: (config) => assert.equal(config.hooks.after_stage, undefined),
  },
  {
    name: "Python's own HTTP server on a fixed port keeps it",
    files: { 'app.py': "from http.server import HTTPServer\nHTTPServer(('0.0.0.0', 9123), H).serve_forever()\n" },
    stack: 'Python with a server of its own',
    command: 'python3 app.py',
    port: 9123,
    note: /does not read PORT/,
  },
  {
    name: 'Rails compiles assets once, installs gems on each server, migrates once',
    files: {
      Gemfile: "gem 'rails', '~> 8.0'\ngem 'puma'\n",
      'Gemfile.lock': '    rails (8.0.1)\n    puma (6.5.0)\n',
      'config/application.rb': '',
      'config/puma.rb': 'port ENV.fetch("PORT", 3000)',
      'config/routes.rb':
        'Rails.application.routes.draw do\n  get "up" => "rails/health#show", as: :rails_health_check\nend\n',
      'app/assets/x.css': '',
      'db/migrate/1_x.rb': '',
    },
    stack: 'Ruby on Rails',
    build: 'bundle install --quiet && bundle exec rails assets:precompile',
    afterStage: 'bundle install --jobs 4 --quiet',
    command: 'bundle exec puma -C config/puma.rb',
    port: 3000,
    health: '/up',
    releaseCommand: 'bundle exec rails db:migrate',
    shared: ['log', 'storage', 'vendor/bundle'],
    variables: {
      RAILS_ENV: 'production',
      RAILS_LOG_TO_STDOUT: '1',
      RACK_ENV: 'production',
      BUNDLE_DEPLOYMENT: 'true',
      BUNDLE_WITHOUT: 'development:test',
    },
  },
  {
    name: 'Sinatra with config.ru runs under Puma',
    files: { Gemfile: 'gem "sinatra"\ngem "puma"', 'config.ru': 'run App', 'app.rb': "get '/ping' do\nend" },
    stack: 'Ruby with Sinatra',
    command: 'bundle exec puma -b "tcp://0.0.0.0:$PORT"',
    health: '/ping',
    shared: ['vendor/bundle'],
  },
  {
    name: 'Jekyll makes a site',
    files: { Gemfile: 'gem "jekyll"', '_config.yml': '' },
    stack: 'a static site made by Jekyll',
    ship: ['_site'],
    command: 'python3 -m http.server "$PORT" --directory _site',
  },
  {
    name: 'Laravel runs behind php-fpm, which takes up the new files',
    files: {
      'composer.json': { name: 'acme/blog' },
      artisan: '',
      'public/index.php': '',
      'bootstrap/app.php': "health: '/up',",
      'database/migrations/1.php': '',
      'package.json': { scripts: { build: 'vite build' } },
      ...lock,
    },
    stack: 'PHP with Laravel',
    build: 'npm ci && npm run build && composer install --no-dev --no-interaction --prefer-dist --optimize-autoloader',
    leaveOut: ['tests/**', 'node_modules/**'],
    restart: 'systemctl reload "php*-fpm.service"',
    port: 80,
    health: '/up',
    afterStage: 'php artisan optimize',
    releaseCommand: 'php artisan migrate --force',
    shared: ['storage'],
    note: /realpath_root/,
  },
  {
    name: 'plain PHP needs no build',
    files: { 'index.php': '<?php' },
    stack: 'PHP',
    restart: 'systemctl reload "php*-fpm.service"',
    check: (config) => assert.equal(config.build.command, undefined),
  },
  {
    name: 'Go builds one static binary of the command that serves',
    files: {
      'go.mod': 'module github.com/acme/shop/v2\n\ngo 1.23\n',
      'cmd/server/main.go':
        'package main\nimport "net/http"\nfunc main() { http.HandleFunc("/healthz", h); http.ListenAndServe(":"+os.Getenv("PORT"), nil) }',
      'cmd/tool/main.go': 'package main\nfunc main() {}',
      'templates/x.html': '',
    },
    stack: 'Go',
    build: 'go build -trimpath -o bin/server ./cmd/server',
    ship: ['bin/server', 'templates'],
    command: './bin/server',
    port: 8080,
    health: '/healthz',
    check: (config) => assert.deepEqual(config.build.variables, { CGO_ENABLED: '0', GOOS: 'linux', GOARCH: 'amd64' }),
  },
  {
    name: 'a Go program that takes its address as a flag gets it as one',
    files: {
      'go.mod': 'module example.com/hello\n',
      'main.go': 'package main\nfunc main() {\n\taddr := flag.String("addr", ":8080", "x")\n}',
    },
    stack: 'Go',
    build: 'go build -trimpath -o bin/hello .',
    command: './bin/hello -addr ":$PORT"',
  },
  {
    name: 'a static site is served as it is',
    files: { 'index.html': '<h1>hi</h1>', 'style.css': '' },
    stack: 'a static site',
    command: 'python3 -m http.server "$PORT"',
    port: 8080,
    health: '/',
  },
  {
    name: 'a static site in public/ ships only that',
    files: { 'public/index.html': '', 'README.md': '' },
    stack: 'a static site',
    ship: ['public'],
    command: 'python3 -m http.server "$PORT" --directory public',
  },
  {
    name: 'a Procfile wins over what was guessed',
    files: {
      Procfile:
        'web: gunicorn shop.wsgi --log-file -\nrelease: python manage.py migrate\nworker: celery -A shop worker\n',
      'app.py': 'app = Flask(__name__)',
      'requirements.txt': 'flask\ngunicorn\n',
    },
    stack: 'Python with Flask',
    command: '.venv/bin/python -m gunicorn shop.wsgi --log-file -',
    releaseCommand: '.venv/bin/python manage.py migrate',
    note: /worker/,
  },
  {
    name: 'the root of a monorepo proposes its application, built from the root',
    files: {
      ...git,
      'package.json': { name: 'mono', workspaces: ['apps/*', 'packages/*'] },
      ...lock,
      'apps/web/package.json': {
        name: 'web',
        scripts: { build: 'tsc', start: 'node dist/index.js' },
        dependencies: { express: '4' },
      },
      'packages/ui/package.json': { name: 'ui' },
      'apps/admin/package.json': { name: 'admin', scripts: { start: 'node x.js' } },
    },
    stack: 'Node with Express',
    build: 'npm ci && npm run build --workspace=apps/web',
    command: 'cd apps/web && exec node dist/index.js',
    source: { repository: '.', subfolder: undefined },
    note: /apps\/admin/,
  },
  {
    name: 'a workspace of a monorepo is built from where the lock file stands',
    files: {
      ...git,
      'package.json': { name: 'mono' },
      'pnpm-workspace.yaml': 'packages:\n  - "apps/*"\n',
      'pnpm-lock.yaml': '',
      'apps/api/package.json': {
        name: 'api',
        scripts: { build: 'tsc', start: 'node dist/index.js' },
        dependencies: { fastify: '5' },
      },
    },
    at: 'apps/api',
    stack: 'Node with Fastify',
    build: 'pnpm install --frozen-lockfile && pnpm --filter ./apps/api run build',
    command: 'cd apps/api && exec node dist/index.js',
    source: { repository: '../..', subfolder: undefined },
  },
  {
    name: 'a folder of a repository is an application by itself',
    files: { ...git, 'services/mail/go.mod': 'module mail\n', 'services/mail/main.go': 'package main\nfunc main() {}' },
    at: 'services/mail',
    stack: 'Go',
    source: { repository: '../..', subfolder: 'services/mail' },
  },
  {
    name: 'an application in a folder is found from above',
    files: {
      ...git,
      'backend/requirements.txt': 'flask\ngunicorn',
      'backend/app.py': 'app = Flask(__name__)',
      'docs/readme.md': '',
      'marketing/index.html': '',
    },
    stack: 'Python with Flask',
    source: { repository: '.', subfolder: 'backend' },
    note: /marketing/,
  },
  {
    name: 'an application that knows of handed-over sockets could take over by one',
    files: {
      'package.json': { name: 'shop', scripts: { start: 'node server.js' }, dependencies: { express: '4' } },
      'server.js': 'app.listen(process.env.LISTEN_FDS ? { fd: 3 } : process.env.PORT)',
    },
    stack: 'Node with Express',
    check: (_config, proposal) => assert.equal(proposal.service?.handover?.value, 'socket'),
  },
  {
    name: 'what nobody knows is proposed as plain files',
    files: { 'data.csv': '1' },
    stack: 'files',
    note: /not recognised/,
    check: (config) => assert.equal(config.service, undefined),
  },
  {
    name: 'broken files are no reason to fail',
    files: { 'package.json': '{ not json', Gemfile: '', 'composer.json': '[]', 'go.mod': '' },
    stack: 'files',
  },
  {
    name: 'hostile values in package.json are quoted',
    files: {
      'package.json': {
        name: '../../: {x}\n#',
        scripts: { start: 'node x.js # "quoted": \'x\' {a: b}\n- y' },
        dependencies: { express: '4' },
      },
    },
    stack: 'Node with Express',
    command: 'npm start',
  },
]

for (const one of cases) {
  test(one.name, (t) => {
    const directory = directoryWith(t, one.files)
    const proposal = recognise(join(directory, one.at ?? '.'))
    const text = writeConfig(proposal)
    const { config, errors } = inspectConfig(text)
    assert.deepEqual(errors, [], text)
    assert.ok(config)
    assert.equal(proposal.name, one.stack)
    if (one.build !== undefined) assert.equal(config.build.command, one.build)
    if (one.ship !== undefined) assert.deepEqual(config.build.ship, one.ship)
    if (one.leaveOut !== undefined) assert.deepEqual(config.build.leave_out, one.leaveOut)
    if (one.command !== undefined) assert.equal(config.service?.command, one.command)
    if (one.port !== undefined) assert.equal(config.service?.port, one.port)
    if (one.health !== undefined) assert.equal(config.service?.health.path, one.health)
    if (one.restart !== undefined)
      assert.deepEqual([config.service?.manager, config.service?.restart], ['command', one.restart])
    if (one.afterStage !== undefined) assert.equal(config.hooks.after_stage?.command, one.afterStage)
    if (one.releaseCommand !== undefined) assert.equal(config.release_command?.command, one.releaseCommand)
    if (one.shared !== undefined) assert.deepEqual(config.release.shared, one.shared)
    if (one.variables !== undefined) assert.deepEqual(config.variables, one.variables)
    if (one.source !== undefined) assert.deepEqual(config.source, one.source)
    if (one.note !== undefined) assert.match(proposal.notes.join('\n'), one.note)
    one.check?.(config, proposal)
    assertExplained(text)
    assertSuggestionsWork(text)
  })
}

/** Every line that says something has a comment above it. */
function assertExplained(text: string): void {
  const lines = text.split('\n')
  lines.forEach((line, index) => {
    if (line.trim() === '' || line.trimStart().startsWith('#')) return
    assert.match(lines[index - 1] ?? '', /^\s*# \S/, `line ${index + 1} is not explained: ${line}`)
  })
}

/** What stands there as a comment to be taken up is valid once it is. */
function assertSuggestionsWork(text: string): void {
  const taken = text.replace(/^( *)# (balancer:| {2}kind:| {2}address:| {2}backend:|probe:|handover:)/gm, '$1$2')
  assert.notEqual(taken, text)
  const { config, errors } = inspectConfig(taken)
  assert.deepEqual(errors, [])
  assert.equal(config?.environments['production']?.balancer.kind, 'haproxy')
  assert.match(config?.environments['production']?.probe?.url ?? '', /^http:/)
}

function directoryWith(t: { after(done: () => void): void }, files: Files): string {
  const directory = mkdtempSync(join(tmpdir(), 'dploy-init-'))
  t.after(() => rmSync(directory, { recursive: true, force: true }))
  for (const [path, content] of Object.entries(files)) {
    mkdirSync(dirname(join(directory, path)), { recursive: true })
    writeFileSync(join(directory, path), typeof content === 'string' ? content : JSON.stringify(content))
  }
  return directory
}
