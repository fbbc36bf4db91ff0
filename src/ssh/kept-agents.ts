import { spawn, type ChildProcess } from 'node:child_process'
import { randomUUID } from 'node:crypto'
import {
  closeSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs'
import { join } from 'node:path'
import * as z from 'zod'
import { LastingStreams } from './lasting.ts'

/** An agent that waits at the other end of an ssh, and what was learnt when it was started. */
export interface KeptAgent {
  /** Where it is, by what way, and which agent it is. */
  key: string
  /** As what it was asked for: the destination and the configuration of ssh that it was looked up in. */
  alias: string
  streams: LastingStreams
  user: string
  access: 'root' | 'sudo' | 'user'
  refusal: string | null
}

const keptSchema = z.object({
  key: z.string(),
  alias: z.string(),
  name: z.string().regex(/^\d+$/),
  user: z.string(),
  access: z.enum(['root', 'sudo', 'user']),
  refusal: z.string().nullable(),
})
const groupSchema = z.object({ holder: z.number().int().positive(), until: z.number(), agents: z.array(keptSchema) })
const description = 'agents.json'

/**
 * Agents that wait for the next command: what ssh's ControlPersist is for connections. Between two commands of this machine
 * the ends of their pipes are held open by a `sleep`, so that nothing of dploy runs here, and all is over when that ends.
 * A command that wants one of a group takes the whole group, in one rename, and ends the sleep: should the command die,
 * its agents learn of it as they always do.
 */
export class KeptAgents {
  readonly #directory: string
  readonly #taken: KeptAgent[] = []
  readonly #emptied: string[] = []

  /** `directory`: one that only this user can enter. */
  constructor(directory: string) {
    this.#directory = join(directory, 'agents')
  }

  /** Where the pipes of new agents are made. */
  get directory(): string {
    mkdirSync(this.#directory, { recursive: true, mode: 0o700 })
    return this.#directory
  }

  /** An agent that was asked for as this, waits, and lived a moment ago; null if there is none. Whether its key still is that of the alias is for the caller to see. */
  take(alias: string): KeptAgent | null {
    if (!this.#taken.some((agent) => agent.alias === alias)) this.#takeGroupOf(alias)
    const index = this.#taken.findIndex((agent) => agent.alias === alias)
    return index < 0 ? null : this.#taken.splice(index, 1)[0]!
  }

  /** Lets agents wait, with those that were taken along and not used, for so many seconds. What cannot be kept is ended; that is no failure of the command. */
  leave(used: readonly KeptAgent[], seconds: number): void {
    const all = [...this.#taken.splice(0), ...used]
    const ends: number[] = []
    let holder: ChildProcess | null = null
    try {
      const elsewhere = new Set(this.#groups().flatMap(({ agents }) => agents.map(({ key }) => key)))
      const agents = [...new Map(all.map((agent) => [agent.key, agent])).values()].filter(
        ({ key }) => !elsewhere.has(key),
      )
      if (agents.length === 0) return
      const group = mkdtempSync(join(this.directory, `new-${process.pid}-`))
      const left = agents.flatMap((agent, index) => {
        agent.streams.move(join(group, String(index)))
        const own = agent.streams.ends()
        ends.push(...(own ?? []))
        return own === null
          ? []
          : [
              {
                key: agent.key,
                alias: agent.alias,
                name: String(index),
                user: agent.user,
                access: agent.access,
                refusal: agent.refusal,
              },
            ]
      })
      if (left.length === 0) return
      // Nothing of this command but the pipes: neither where it stands, nor what its environment knows.
      holder = spawn('sleep', [String(seconds)], {
        cwd: '/',
        env: { PATH: process.env.PATH },
        detached: true,
        stdio: ['ignore', 'ignore', 'ignore', ...ends],
      })
      holder.on('error', () => {}).unref()
      if (holder.pid === undefined) return
      writeFileSync(
        join(group, description),
        JSON.stringify({ holder: holder.pid, until: Date.now() + seconds * 1000, agents: left } satisfies z.infer<
          typeof groupSchema
        >),
        { mode: 0o600 },
      )
      const name = `free-${randomUUID()}`
      renameSync(group, join(this.#directory, name))
      if (this.#isSecond(name)) this.#withdraw(name, holder)
    } catch {
      // A full disk, say. Nobody would find what it holds.
      holder?.kill()
    } finally {
      for (const end of ends) closeSync(end)
      for (const { streams } of all) streams.close()
      for (const directory of [...this.#emptied.splice(0), ...this.#own()]) remove(directory)
    }
  }

  /** Whether another command had left agents for the same before: both had looked whether there are any, and there were none. By when they were renamed, which nobody sees before. */
  #isSecond(name: string): boolean {
    const groups = this.#groups()
    const keys = groups.find((group) => group.name === name)?.agents.map(({ key }) => key) ?? []
    const since = (group: string) =>
      statSync(join(this.#directory, group), { bigint: true, throwIfNoEntry: false })?.ctimeNs
    const mine = since(name)
    return groups.some(
      (other) =>
        other.name !== name &&
        other.agents.some(({ key }) => keys.includes(key)) &&
        mine !== undefined &&
        (since(other.name) ?? mine + 1n) <= mine,
    )
  }

  /** Ends a group that this command has left, unless another one was fast. */
  #withdraw(name: string, holder: ChildProcess): void {
    try {
      renameSync(join(this.#directory, name), join(this.#directory, `new-${process.pid}-${name}`))
    } catch {
      return
    }
    holder.kill()
  }

  #takeGroupOf(alias: string): void {
    for (const { name, agents, holder } of this.#groups()) {
      if (!agents.some((agent) => agent.alias === alias)) continue
      const mine = join(this.#directory, `taken-${process.pid}-${name}`)
      try {
        renameSync(join(this.#directory, name), mine)
      } catch {
        // Another command was faster.
        continue
      }
      this.#emptied.push(mine)
      const open = agents.flatMap(({ name: agent, ...rest }) => {
        const streams = LastingStreams.reopen(join(mine, agent))
        return streams === null ? [] : [{ ...rest, streams }]
      })
      this.#taken.push(...open)
      // What is not open any more has no holder either, whose number may be another's by now.
      if (open.length > 0) endHolder(holder)
      return
    }
  }

  /** Those that nobody uses; what is left of commands that died is removed. */
  #groups(): (z.infer<typeof groupSchema> & { name: string })[] {
    return names(this.#directory).flatMap((name) => {
      const [, kind, pid] = /^(free|taken|new)-(\d+)?/.exec(name) ?? []
      const group = kind === 'free' ? readGroup(join(this.#directory, name, description)) : null
      if (group && group.until > Date.now()) return [{ ...group, name }]
      if (kind === 'free' || (pid !== undefined && isDead(Number(pid)))) remove(join(this.#directory, name))
      return []
    })
  }

  /** Directories in which pipes of this process were made. */
  #own(): string[] {
    return names(this.#directory).flatMap((name) =>
      name.startsWith(`new-${process.pid}-`) ? [join(this.#directory, name)] : [],
    )
  }
}

function names(directory: string): string[] {
  try {
    return readdirSync(directory)
  } catch {
    return []
  }
}

function readGroup(path: string): z.infer<typeof groupSchema> | null {
  try {
    return groupSchema.parse(JSON.parse(readFileSync(path, 'utf8')))
  } catch {
    return null
  }
}

/** Another command may remove the same at the same moment; what is left then is removed by a later one. */
function remove(directory: string): void {
  try {
    rmSync(directory, { recursive: true, force: true })
  } catch {
    // A later one.
  }
}

/** Its number may mean another process here: of another namespace of processes, with the same directory. Where that can be seen it is looked at. */
function endHolder(pid: number): void {
  try {
    if (process.platform === 'linux' && !readFileSync(`/proc/${pid}/cmdline`, 'latin1').startsWith('sleep\0')) return
    process.kill(pid)
  } catch {
    // It has ended by itself.
  }
}

function isDead(pid: number): boolean {
  try {
    process.kill(pid, 0)
    return false
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === 'ESRCH'
  }
}
