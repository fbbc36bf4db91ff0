import { packageManagerOf } from './package-manager.ts'
import type { Project } from './project.ts'
import type { Stack } from './proposal.ts'

/** Styles and scripts that npm builds for an application in another language: built once, before its own build. */
export function withFrontend(project: Project, stack: Stack): Stack {
  const scripts = project.json('package.json')?.['scripts'] as Record<string, unknown> | null | undefined
  if (typeof scripts?.['build'] !== 'string') return stack
  const manager = packageManagerOf(project)
  const own = stack.build?.command
  const command = [manager.install, manager.run('build'), ...(own === undefined ? [] : [own.value])].join(' && ')
  const needed = stack.build?.ship !== undefined
  return {
    ...stack,
    build: {
      ...stack.build,
      command: {
        value: command,
        why: `Builds what package.json describes${own === undefined ? '.' : `, then: ${own.why.charAt(0).toLowerCase()}${own.why.slice(1)}`}`,
      },
      ...(needed
        ? {}
        : {
            leaveOut: {
              value: [...new Set([...(stack.build?.leaveOut?.value ?? []), 'node_modules/**'])],
              why: 'What a server does not need.',
            },
          }),
    },
    notes: needed
      ? [...stack.notes, 'package.json has a build script: check that build.ship holds what it makes.']
      : stack.notes,
  }
}
