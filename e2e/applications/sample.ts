import { cp, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { mustRun } from '../fleet/command.ts'

/** How a revision of the sample application behaves; sample/server.js says what each means. */
export interface Behaviour {
  version: string
  bootMilliseconds?: number
  answerMilliseconds?: number
  neverHealthy?: boolean
  exitAfterMilliseconds?: number
  ignoreTermination?: boolean
}

/** A git repository with the sample application, whose revisions differ in behaviour. */
export class SampleRepository {
  readonly path: string

  private constructor(path: string) {
    this.path = path
  }

  /** Makes it at `path`, with `files` (a dploy.yml, say) beside the application, and a first revision of this behaviour. */
  static async create(
    path: string,
    behaviour: Behaviour = { version: '1' },
    files: Record<string, string> = {},
  ): Promise<SampleRepository> {
    await cp(join(import.meta.dirname, 'sample'), path, { recursive: true })
    await git(path, 'init', '--quiet', '--initial-branch=main')
    const repository = new SampleRepository(path)
    await repository.commit(behaviour, files)
    return repository
  }

  /** Commits the next revision and gives back its id. */
  async commit(behaviour: Behaviour, files: Record<string, string> = {}): Promise<string> {
    for (const [name, content] of Object.entries(files)) await writeFile(join(this.path, name), content)
    await writeFile(join(this.path, 'behaviour.json'), `${JSON.stringify(behaviour, undefined, 2)}\n`)
    await git(this.path, 'add', '--all')
    await git(this.path, 'commit', '--quiet', '--allow-empty', `--message=Behave as version ${behaviour.version}`)
    return (await git(this.path, 'rev-parse', 'HEAD')).trim()
  }
}

async function git(directory: string, ...args: string[]): Promise<string> {
  const identity = [
    '-c',
    'user.name=Sample',
    '-c',
    'user.email=sample@localhost',
    '-c',
    'commit.gpgsign=false',
    '-c',
    'core.hooksPath=/dev/null',
  ]
  return await mustRun('git', ['-C', directory, ...identity, ...args], {
    env: { ...process.env, GIT_CONFIG_GLOBAL: '/dev/null', GIT_CONFIG_SYSTEM: '/dev/null' },
  })
}
