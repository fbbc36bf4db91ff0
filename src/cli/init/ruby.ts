import { packageManagerOf } from './package-manager.ts'
import { portOf } from './port.ts'
import type { Project } from './project.ts'
import type { Explained, Stack } from './proposal.ts'
import { healthPathOf } from './routes.ts'
import { staticService, webServerNote } from './static-site.ts'

/** Ruby: Rails, another Rack application, or a script that serves by itself. */
export function recogniseRuby(project: Project): Stack | null {
  if (!project.isFile('Gemfile')) return null
  const gems = `${project.text('Gemfile')}\n${project.text('Gemfile.lock')}`
  const has = (gem: string) => new RegExp(`(^|\\n)\\s*(gem\\s*\\(?\\s*["']${gem}["']|${gem} \\()`).test(gems)
  if (has('jekyll') && project.isFile('_config.yml')) return jekyll()
  const rails = has('rails') && project.isFile('config/application.rb')
  const script = rails || project.isFile('config.ru') ? null : project.firstFile(['app.rb', 'server.rb', 'main.rb'])
  if (!rails && script === null && !project.isFile('config.ru')) return null
  const { port, fixed } = portOf(project, ['.rb', '.ru'], 3000)
  const notes = ['The servers need the same Ruby as here, with bundler and a compiler for gems that are written in C.']
  if (!project.isFile('Gemfile.lock'))
    notes.push('Gemfile.lock is missing: run "bundle lock" and commit it, so that every server gets the same gems.')
  if (rails) notes.push('The application needs SECRET_KEY_BASE or RAILS_MASTER_KEY in its environment.')
  return {
    name: rails ? 'Ruby on Rails' : has('sinatra') ? 'Ruby with Sinatra' : 'Ruby with Rack',
    ...(rails ? assetsOf(project) : {}),
    shared: sharedOf(rails),
    service: {
      command: serverCommand(project, has, script),
      port:
        fixed && script === null
          ? { value: 3000, why: 'Given to the process as PORT; the health check asks there.' }
          : port,
      health: rails ? railsHealth(project) : healthPathOf(project, ['.rb', '.ru']),
    },
    afterStage: {
      value: 'bundle install --jobs 4 --quiet',
      why: 'Gems are installed on each server (many are compiled there), before anything is switched.',
    },
    ...(rails && project.isDirectory('db/migrate')
      ? {
          releaseCommand: {
            value: 'bundle exec rails db:migrate',
            why: 'Migrations, once per deployment; the old release still serves, so it must live with the new schema.',
          },
        }
      : {}),
    variables: {
      ...(rails
        ? {
            RAILS_ENV: { value: 'production', why: 'How Rails runs on the servers.' },
            RAILS_LOG_TO_STDOUT: { value: '1', why: 'So that dploy logs shows the log.' },
          }
        : {}),
      RACK_ENV: { value: 'production', why: 'The same for Rack.' },
      BUNDLE_DEPLOYMENT: { value: 'true', why: 'Exactly the gems of Gemfile.lock, under vendor/bundle.' },
      BUNDLE_WITHOUT: { value: 'development:test', why: 'Groups that a server does not need.' },
    },
    notes,
  }
}

function assetsOf(project: Project): Pick<Stack, 'build'> {
  if (!project.isDirectory('app/assets')) return {}
  const javascript = project.isFile('package.json') ? `${packageManagerOf(project).install} && ` : ''
  return {
    build: {
      command: {
        value: `bundle install --quiet && ${javascript}bundle exec rails assets:precompile`,
        why: 'Assets are compiled once, not on every server.',
      },
      leaveOut: {
        value: ['vendor/bundle/**', 'node_modules/**', 'tmp/**', 'log/**', 'test/**', 'spec/**'],
        why: 'Gems are installed on each server; the rest is not needed there.',
      },
      cache: {
        value: ['vendor/bundle', 'tmp/cache/assets'],
        why: 'Gems and compiled assets are kept from one build to the next.',
      },
      variables: {
        RAILS_ENV: { value: 'production', why: 'Compiles the assets as they are served.' },
        SECRET_KEY_BASE_DUMMY: { value: '1', why: 'The build needs no real secret.' },
        BUNDLE_PATH: { value: 'vendor/bundle', why: 'Where the build keeps its gems.' },
      },
    },
  }
}

function sharedOf(rails: boolean): Explained<string>[] {
  const bundle = { value: 'vendor/bundle', why: 'Gems stay, so that only new ones are installed.' }
  if (!rails) return [bundle]
  return [
    { value: 'log', why: 'The log outlives a release.' },
    { value: 'storage', why: 'Uploaded files (Active Storage), and SQLite databases.' },
    bundle,
  ]
}

function serverCommand(project: Project, has: (gem: string) => boolean, script: string | null): Explained<string> {
  if (script !== null)
    return {
      value: `bundle exec ruby ${script} -o 0.0.0.0 -p "$PORT"`,
      why: 'Starts the application; on all addresses, for a balancer on another machine.',
    }
  if (has('puma') || has('rails')) {
    const config = project.text('config/puma.rb')
    if (/ENV.*["']PORT["']/.test(config))
      return {
        value: 'bundle exec puma -C config/puma.rb',
        why: 'Puma, with its configuration; it takes the port from PORT.',
      }
    return {
      value: 'bundle exec puma -b "tcp://0.0.0.0:$PORT"',
      why: 'Puma, on all addresses, for a balancer on another machine.',
    }
  }
  if (has('falcon'))
    return {
      value: 'bundle exec falcon serve --bind "http://0.0.0.0:$PORT"',
      why: 'Falcon, on all addresses, for a balancer on another machine.',
    }
  return {
    value: 'bundle exec rackup --host 0.0.0.0 --port "$PORT"',
    why: 'Starts config.ru; on all addresses, for a balancer on another machine.',
  }
}

function railsHealth(project: Project): Explained<string> {
  const built = /^\s*get\s+["']\/?([\w/-]+)["'][^\n]*rails\/health/m.exec(project.text('config/routes.rb'))?.[1]
  if (built !== undefined) return { value: `/${built}`, why: "Rails' own health check, from config/routes.rb." }
  return healthPathOf(project, ['.rb'])
}

function jekyll(): Stack {
  return {
    name: 'a static site made by Jekyll',
    build: {
      command: {
        value: 'bundle install --quiet && bundle exec jekyll build',
        why: 'The site is made once; the servers get only its files.',
      },
      ship: { value: ['_site'], why: 'Only the finished site.' },
      cache: { value: ['vendor/bundle'], why: 'Gems are kept from one build to the next.' },
      variables: {
        JEKYLL_ENV: { value: 'production', why: 'Makes the site as it is published.' },
        BUNDLE_PATH: { value: 'vendor/bundle', why: 'Where the build keeps its gems.' },
      },
    },
    service: staticService('_site'),
    notes: [webServerNote('_site')],
  }
}
