import { Argument, Command } from 'commander'

export function completionCommand(): Command {
  return new Command('completion')
    .description('print the completion of commands and options for a shell')
    .addArgument(new Argument('<shell>').choices(['bash', 'zsh', 'fish']))
    .addHelpText(
      'after',
      '\nExamples:\n  $ dploy completion bash > /etc/bash_completion.d/dploy\n  $ dploy completion zsh > "${fpath[1]}/_dploy"\n  $ dploy completion fish > ~/.config/fish/completions/dploy.fish',
    )
    .action((shell: string, _options: unknown, command: Command) => {
      const commands = describe(command.parent!)
      process.stdout.write(shell === 'bash' ? bash(commands) : shell === 'zsh' ? zsh(commands) : fish(commands))
    })
}

interface Described {
  name: string
  description: string
  options: string[]
}

function describe(root: Command): Described[] {
  const shared = root.options.map((option) => option.long!).filter(Boolean)
  return root.commands.map((command) => ({
    name: command.name(),
    description: command.description(),
    options: [...command.options.map((option) => option.long!).filter(Boolean), ...shared, '--help'],
  }))
}

/** The environments of the dploy.yml here, read without dploy, so that a completion is instant. */
const environments = `sed -n '/^environments:/,/^[^ ]/s/^  \\([A-Za-z0-9._-]*\\):.*/\\1/p' dploy.yml 2>/dev/null`

function bash(commands: Described[]): string {
  const cases = commands.map(({ name, options }) => `    ${name}) words="${options.join(' ')}" ;;`).join('\n')
  return `# dploy completion for bash
_dploy() {
  local current=\${COMP_WORDS[COMP_CWORD]} words
  if [ "$COMP_CWORD" -eq 1 ]; then
    COMPREPLY=($(compgen -W "${commands.map(({ name }) => name).join(' ')} --help --version" -- "$current"))
    return
  fi
  case \${COMP_WORDS[1]} in
${cases}
  esac
  case $current in -*) ;; *) words="$(${environments})" ;; esac
  COMPREPLY=($(compgen -W "$words" -- "$current"))
}
complete -F _dploy dploy
`
}

function zsh(commands: Described[]): string {
  const cases = commands
    .map(({ name, options }) => `    ${name}) compadd -- ${options.join(' ')} $(${environments}) ;;`)
    .join('\n')
  return `#compdef dploy
_dploy() {
  if (( CURRENT == 2 )); then
    local -a commands=(${commands.map(({ name, description }) => `'${name}:${description.replaceAll("'", "'\\''").replaceAll(':', '\\:')}'`).join(' ')})
    _describe command commands
    return
  fi
  case $words[2] in
${cases}
  esac
}
_dploy "$@"
`
}

function fish(commands: Described[]): string {
  const lines = ['# dploy completion for fish', 'complete -c dploy -f']
  for (const { name, description, options } of commands) {
    lines.push(`complete -c dploy -n __fish_use_subcommand -a ${name} -d '${description.replaceAll("'", "\\'")}'`)
    for (const option of options)
      lines.push(`complete -c dploy -n '__fish_seen_subcommand_from ${name}' -l ${option.slice(2)}`)
  }
  lines.push(`complete -c dploy -n 'not __fish_use_subcommand' -a "(${environments})"`)
  return `${lines.join('\n')}\n`
}
