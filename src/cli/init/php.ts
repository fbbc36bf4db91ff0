import type { Project } from './project.ts'
import type { Explained, Stack } from './proposal.ts'
import { healthPathOf } from './routes.ts'

/** PHP behind nginx and php-fpm: dploy switches the files and has php-fpm take them up. */
export function recognisePhp(project: Project): Stack | null {
  const composer = project.json('composer.json')
  const front = project.firstFile(['public/index.php', 'web/index.php', 'index.php', 'htdocs/index.php'])
  const laravel = project.isFile('artisan')
  if (front === null) return null
  const symfony = project.isFile('bin/console') && composer !== null
  const root = front.includes('/') ? front.slice(0, front.indexOf('/')) : '.'
  const notes = [
    `nginx serves it: root DIRECTORY/current${root === '.' ? '' : `/${root}`}; pass $realpath_root$fastcgi_script_name as SCRIPT_FILENAME, so that a switch takes effect at once.`,
    'php-fpm does not see "variables" of this file: they reach hooks and the release command only. Give php-fpm its settings in its pool (env[NAME] = …).',
  ]
  return {
    name: laravel ? 'PHP with Laravel' : symfony ? 'PHP with Symfony' : 'PHP',
    ...(composer === null ? {} : buildOf()),
    shared: sharedOf(project, laravel, symfony),
    service: {
      port: { value: 80, why: 'Where nginx listens on the server; the health check asks there.' },
      health: healthPathOf(project, ['.php']),
      restart: {
        value: 'systemctl reload "php*-fpm.service"',
        why: 'php-fpm drops its cached code without cutting a request. The agent needs the right to do it.',
      },
      status: { value: 'systemctl is-active --quiet "php*-fpm.service"', why: 'Exits 0 while php-fpm runs.' },
    },
    ...(laravel
      ? {
          afterStage: {
            value: 'php artisan optimize',
            why: 'Caches configuration, routes and views of the new release.',
          },
        }
      : {}),
    ...(symfony
      ? {
          afterStage: {
            value: 'php bin/console cache:clear --env=prod --no-debug',
            why: 'Warms the cache of the new release before it serves.',
          },
        }
      : {}),
    ...releaseCommandOf(project, laravel, symfony),
    variables: laravel
      ? { APP_ENV: { value: 'production', why: 'For the hooks and the release command.' } }
      : symfony
        ? { APP_ENV: { value: 'prod', why: 'For the hooks and the release command.' } }
        : {},
    notes,
  }
}

function buildOf(): Pick<Stack, 'build'> {
  return {
    build: {
      command: {
        value: 'composer install --no-dev --no-interaction --prefer-dist --optimize-autoloader',
        why: 'Libraries are installed once and shipped: the servers need no composer.',
      },
      leaveOut: { value: ['tests/**'], why: 'What a server does not need.' },
    },
  }
}

function sharedOf(project: Project, laravel: boolean, symfony: boolean): Explained<string>[] {
  if (laravel)
    return [{ value: 'storage', why: 'Uploads, logs and sessions; its folders are copied from the first release.' }]
  if (symfony) return [{ value: 'var/log', why: 'The log outlives a release.' }]
  return ['uploads', 'public/uploads']
    .filter((path) => project.isDirectory(path))
    .map((value) => ({ value, why: 'What users upload outlives a release.' }))
}

function releaseCommandOf(project: Project, laravel: boolean, symfony: boolean): Pick<Stack, 'releaseCommand'> {
  if (laravel && project.isDirectory('database/migrations'))
    return {
      releaseCommand: {
        value: 'php artisan migrate --force',
        why: 'Migrations, once per deployment; the old release still serves, so it must live with the new schema.',
      },
    }
  if (symfony && project.isDirectory('migrations')) {
    return {
      releaseCommand: {
        value: 'php bin/console doctrine:migrations:migrate --no-interaction --allow-no-migration',
        why: 'Migrations, once per deployment; the old release still serves, so it must live with the new schema.',
      },
    }
  }
  return {}
}
