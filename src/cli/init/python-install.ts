import type { Project } from './project.ts'

/** How the dependencies of a Python application get into its release. */
export interface PythonInstall {
  /** Installs them, and `extra` packages, into .venv of the release; null when there is nothing to install. */
  command(extra: string[]): string | null
  /**
   * The interpreter to start modules with. Not the scripts in .venv/bin: those name the directory they were made in,
   * `python -m` works wherever the release stands.
   */
  python: string
  /** What the servers need for it. */
  needs: string
  has(packageName: string): boolean
}

/** The way of installing that the lock file, else the list of requirements, asks for. */
export function installOf(project: Project): PythonInstall {
  const requirements = project.firstFile([
    'requirements.txt',
    'requirements/production.txt',
    'requirements/prod.txt',
    'requirements/base.txt',
  ])
  const pyproject = project.text('pyproject.toml')
  const all = [
    requirements === null ? '' : project.text(requirements),
    project.text('requirements/base.txt'),
    pyproject,
    project.text('Pipfile'),
    project.text('poetry.lock'),
    project.text('uv.lock'),
  ]
    .join('\n')
    .toLowerCase()
  const has = (name: string) => new RegExp(`(^|["'\\s])${name.replace(/[[\]]/g, '\\$&')}(?![\\w-])`, 'm').test(all)
  const python = '.venv/bin/python'
  const pip = (what: string) =>
    `python3 -m venv .venv && ${python} -m pip install --quiet --disable-pip-version-check ${what}`
  const venvNeeds = 'The servers need python3 with venv (Debian: apt install python3-venv).'
  const afterwards = (extra: string[], install: string) =>
    extra.length === 0 ? '' : ` && ${install} ${extra.join(' ')}`

  if (project.isFile('uv.lock')) {
    return {
      command: (extra) => `uv sync --frozen --no-dev${afterwards(extra, `uv pip install --quiet --python ${python}`)}`,
      python,
      needs: 'The servers need uv.',
      has,
    }
  }
  if (project.isFile('poetry.lock')) {
    const poetry = `POETRY_VIRTUALENVS_IN_PROJECT=true poetry install --only main --no-interaction`
    return {
      command: (extra) => `${poetry}${afterwards(extra, `${python} -m pip install --quiet`)}`,
      python,
      needs: 'The servers need python3 and Poetry.',
      has,
    }
  }
  if (requirements !== null)
    return { command: (extra) => pip(['-r', requirements, ...extra].join(' ')), python, needs: venvNeeds, has }
  if (project.isFile('Pipfile.lock')) {
    return {
      command: (extra) =>
        `PIPENV_VENV_IN_PROJECT=1 pipenv sync${afterwards(extra, `${python} -m pip install --quiet`)}`,
      python,
      needs: 'The servers need python3 and pipenv.',
      has,
    }
  }
  if (/^\[project\]/m.test(pyproject)) {
    // Without a build system the project itself cannot be installed; its dependencies are then listed by hand.
    const list = /^dependencies\s*=\s*\[((?:\s*(?:"[^"]*"|'[^']*')\s*,?|\s*#.*)*)\s*\]/m.exec(pyproject)?.[1] ?? ''
    const dependencies = [...list.matchAll(/"([^"]+)"|'([^']+)'/g)].map((match) => match[1] ?? match[2]!)
    if (/^\[build-system\]/m.test(pyproject))
      return { command: (extra) => pip(['.', ...extra].join(' ')), python, needs: venvNeeds, has }
    if (dependencies.length > 0)
      return {
        command: (extra) => pip([...dependencies.map((one) => `'${one.replaceAll("'", '"')}'`), ...extra].join(' ')),
        python,
        needs: venvNeeds,
        has,
      }
  }
  return {
    command: (extra) => (extra.length === 0 ? null : pip(extra.join(' '))),
    python: '.venv/bin/python',
    needs: venvNeeds,
    has,
  }
}
