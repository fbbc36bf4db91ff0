import { execFile } from 'node:child_process'
import {
  closeSync,
  existsSync,
  fsyncSync,
  openSync,
  readdirSync,
  renameSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
  writeSync,
} from 'node:fs'
import { basename, dirname, join } from 'node:path'
import { promisify } from 'node:util'
import { createHash } from 'node:crypto'
import { DployError } from '../protocol/errors.ts'

const run = promisify(execFile)
const fallback = 'dploy-agent-fallback'

/**
 * Puts the version before back where the new one did not prove itself: run by systemd, not by either of them, so that it
 * works however broken the new one is. `$1`: the agent's directory; `$2`: the file of the version before.
 */
const fallbackScript = `
[ -e "$1/trial" ] || exit 0
rm -f "$1/trial" "$1/next"
ln -s "$2" "$1/next" && mv -fT "$1/next" "$1/current.mjs"
systemctl restart dploy-agent
`

/** The version of an agent that install.sh put here; null for one that was started in another way, and is upgraded in another way. */
export interface Installed {
  /** `/var/lib/dploy/agent`. */
  directory: string
  /** SHA-256 of the program that runs, by its file's name. */
  digest: string
}

/** `program`: the file that runs, with links resolved. */
export function installedAgent(program: string, stateDirectory: string): Installed | null {
  const directory = join(stateDirectory, 'agent')
  const digest = /^([0-9a-f]{64})\.mjs$/.exec(basename(program))?.[1]
  return digest !== undefined && dirname(program) === directory && existsSync(join(directory, 'current.mjs'))
    ? { directory, digest }
    : null
}

/** Whether this version is new here, and not yet proven. */
export function onTrial({ directory }: Installed): boolean {
  return existsSync(join(directory, 'trial'))
}

/**
 * Makes a program the one that systemd starts from now on, and has systemd put the present one back unless `keepVersion` is
 * called within `trialSeconds`. Who calls this ends itself afterwards. Throws `object.corrupt`, and `command.refused`
 * where systemd does not take it.
 */
export async function takeVersion(
  { directory, digest: present }: Installed,
  program: Uint8Array,
  digest: string,
  trialSeconds: number,
): Promise<void> {
  if (createHash('sha256').update(program).digest('hex') !== digest)
    throw new DployError('object.corrupt', 'The new version of the agent does not have the digest that it should have')
  const path = join(directory, `${digest}.mjs`)
  const file = openSync(`${path}.part`, 'w', 0o755)
  writeSync(file, program)
  fsyncSync(file)
  closeSync(file)
  renameSync(`${path}.part`, path)
  await run('systemctl', ['stop', `${fallback}.timer`]).catch(() => {})
  writeFileSync(join(directory, 'trial'), `${present}\n`)
  try {
    await run('systemd-run', [
      '--quiet',
      '--collect',
      `--unit=${fallback}`,
      `--on-active=${trialSeconds}`,
      '--timer-property=AccuracySec=100ms',
      'sh',
      '-c',
      fallbackScript,
      'dploy',
      directory,
      `${present}.mjs`,
    ])
  } catch (cause) {
    rmSync(join(directory, 'trial'), { force: true })
    throw new DployError(
      'command.refused',
      `The agent is not upgraded: systemd-run says ${String((cause as { stderr?: string }).stderr ?? cause).trim()}`,
      { cause },
    )
  }
  rmSync(join(directory, 'next'), { force: true })
  symlinkSync(`${digest}.mjs`, join(directory, 'next'))
  renameSync(join(directory, 'next'), join(directory, 'current.mjs'))
}

/** This version has proven itself: it stays, with the two before it. */
export async function keepVersion({ directory, digest }: Installed): Promise<void> {
  rmSync(join(directory, 'trial'), { force: true })
  await run('systemctl', ['stop', `${fallback}.timer`]).catch(() => {})
  const before = readdirSync(directory)
    .filter((name) => /^[0-9a-f]{64}\.mjs$/.test(name) && name !== `${digest}.mjs`)
    .map((name) => ({ path: join(directory, name), at: statSync(join(directory, name)).mtimeMs }))
    .toSorted((a, b) => b.at - a.at)
  for (const { path } of before.slice(2)) rmSync(path, { force: true })
}
