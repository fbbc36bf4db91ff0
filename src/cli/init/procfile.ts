import type { Project } from './project.ts'

/** The commands of a Procfile by process name: `web`, `release`, `worker`. Empty if there is none. */
export function readProcfile(project: Project): Map<string, string> {
  const commands = new Map<string, string>()
  for (const line of project.text('Procfile').split(/\r?\n/)) {
    const match = /^([A-Za-z0-9_-]+):\s*(\S.*?)\s*$/.exec(line)
    if (match) commands.set(match[1]!, match[2]!)
  }
  return commands
}
