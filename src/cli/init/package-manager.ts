import type { Project } from './project.ts'

/** What npm, pnpm, yarn and bun call the same things. */
export interface PackageManager {
  name: 'npm' | 'pnpm' | 'yarn' | 'bun'
  lockFile: string | null
  /** Installs exactly what the lock file says, with what the build needs. */
  install: string
  /** Installs only what production needs. */
  installProduction: string
  /** Takes away what only the build needed. */
  prune: string
  run(script: string, workspace?: { path: string; name: string }): string
}

/** The package manager of a project, by its lock file and by `packageManager` in package.json. */
export function packageManagerOf(project: Project): PackageManager {
  const field = project.json('package.json')?.['packageManager']
  const named = typeof field === 'string' ? field : ''
  const lockFile = project.firstFile([
    'pnpm-lock.yaml',
    'bun.lock',
    'bun.lockb',
    'yarn.lock',
    'package-lock.json',
    'npm-shrinkwrap.json',
  ])
  if (lockFile === 'pnpm-lock.yaml' || (lockFile === null && named.startsWith('pnpm@'))) return pnpm(lockFile)
  if (lockFile?.startsWith('bun.') || (lockFile === null && named.startsWith('bun@'))) return bun(lockFile)
  if (lockFile === 'yarn.lock' || (lockFile === null && named.startsWith('yarn@'))) {
    const berry =
      project.isFile('.yarnrc.yml') ||
      /^yarn@([2-9]|\d\d)/.test(named) ||
      project.text('yarn.lock').includes('__metadata:')
    return berry ? yarn(lockFile) : yarnClassic(lockFile)
  }
  return npm(lockFile)
}

function npm(lockFile: string | null): PackageManager {
  const install = lockFile === null ? 'npm install' : 'npm ci'
  return {
    name: 'npm',
    lockFile,
    install,
    installProduction: `${install} --omit=dev`,
    prune: 'npm prune --omit=dev',
    run: (script, workspace) =>
      `npm ${script === 'start' ? 'start' : `run ${script}`}${workspace === undefined ? '' : ` --workspace=${workspace.path}`}`,
  }
}

function pnpm(lockFile: string | null): PackageManager {
  const install = lockFile === null ? 'pnpm install' : 'pnpm install --frozen-lockfile'
  return {
    name: 'pnpm',
    lockFile,
    install,
    installProduction: `${install} --prod`,
    prune: 'pnpm prune --prod',
    run: (script, workspace) => `pnpm ${workspace === undefined ? '' : `--filter ./${workspace.path} `}run ${script}`,
  }
}

function yarnClassic(lockFile: string | null): PackageManager {
  const install = lockFile === null ? 'yarn install' : 'yarn install --frozen-lockfile'
  return {
    name: 'yarn',
    lockFile,
    install,
    installProduction: `${install} --production`,
    prune: `${install} --production --ignore-scripts --prefer-offline`,
    run: (script, workspace) =>
      workspace === undefined ? `yarn run ${script}` : `yarn workspace ${workspace.name} run ${script}`,
  }
}

function yarn(lockFile: string | null): PackageManager {
  return {
    name: 'yarn',
    lockFile,
    install: lockFile === null ? 'yarn install' : 'yarn install --immutable',
    installProduction: 'yarn workspaces focus --all --production',
    prune: 'yarn workspaces focus --all --production',
    run: (script, workspace) =>
      workspace === undefined ? `yarn run ${script}` : `yarn workspace ${workspace.name} run ${script}`,
  }
}

function bun(lockFile: string | null): PackageManager {
  const install = lockFile === null ? 'bun install' : 'bun install --frozen-lockfile'
  return {
    name: 'bun',
    lockFile,
    install,
    installProduction: `${install} --production`,
    prune: `rm -rf node_modules && ${install} --production`,
    run: (script, workspace) => `bun run ${workspace === undefined ? '' : `--filter ./${workspace.path} `}${script}`,
  }
}
