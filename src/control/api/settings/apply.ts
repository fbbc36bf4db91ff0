import { isDeepStrictEqual } from 'node:util'
import { checkConfig } from '../../../protocol/config/check.ts'
import { readConfig } from '../../../protocol/config/text.ts'
import type { Config } from '../../../protocol/config/config.ts'
import { DployError } from '../../../protocol/errors.ts'
import { mustMay } from '../call/access.ts'
import type { Caller } from '../call/caller.ts'
import type { ApiContext } from '../context.ts'
import type { Call } from '../server.ts'

/**
 * Records a dploy.yml for those of its environments in which the caller may deploy; the others stay as they are. Who may
 * deploy everywhere makes new ones. A
 * path on this machine is taken from administrators alone. Throws `forbidden` if there is no environment left,
 * and if it goes around the protection of one.
 */
export async function applyConfig(context: ApiContext, { body, caller, tell }: Call<'apply'>) {
  const { store } = context
  const config = readConfig(body.text, body.fileName)
  const names = Object.keys(config.environments)
  const [mine, left]: [string[], string[]] = [[], []]
  const [before, after]: Record<string, unknown>[] = [{}, {}]
  for (const name of names) {
    const id = await store.applications.environmentId(config.application, name)
    if (!caller.rights.may('deploy', id)) {
      left.push(name)
      continue
    }
    mine.push(name)
    const old = id === null ? null : (await store.applications.environmentById(id)).config
    await keepProtected(context, caller, config, name, id, old)
    const changed = changedKeys(old, config, name)
    // Who is told gets secrets of the environment, and no deployment has to be approved for it.
    if (
      old?.environments[name]?.protected === true &&
      !isDeepStrictEqual(plain(old.notify ?? []), plain(config.notify))
    )
      mustMay(
        caller,
        'administer',
        id,
        `in ${name}, which is protected, and so not change who is told of its deployments`,
      )
    if (changed.length === 0) continue
    before![name] = old === null ? null : Object.fromEntries(changed.map((key) => [key, part(old, name, key)]))
    after![name] = Object.fromEntries(changed.map((key) => [key, part(config, name, key)]))
  }
  if (mine.length === 0)
    throw new DployError(
      'forbidden',
      `${caller.name} may deploy none of these environments of ${config.application}: ${left.join(', ')}`,
    )
  tell({
    subject: config.application,
    before: Object.keys(before!).length > 0 ? before : null,
    after: Object.keys(after!).length > 0 ? after : null,
  })
  const kept = new Set(mine)
  await store.applications.apply(
    config,
    caller.rights.may('administer', null) ? body.base : undefined,
    Date.now(),
    (name) => kept.has(name),
    { text: body.text, file: body.fileName.split('/').at(-1)!.slice(0, 200), by: caller.name },
  )
  return {
    application: config.application,
    environments: names,
    warnings: [...checkConfig(config), ...left.map((name) => `${name} stays as it is: you may not deploy there`)],
  }
}

/** Protection is taken away by administrators alone; and nobody else makes an environment without it of the same servers. */
async function keepProtected(
  { store }: ApiContext,
  caller: Caller,
  config: Config,
  name: string,
  id: string | null,
  old: Config | null,
): Promise<void> {
  const now = config.environments[name]!
  if (now.protected || caller.rights.may('administer', null)) return
  if (old?.environments[name]?.protected === true)
    mustMay(caller, 'administer', id, `in ${name}, and so not take its protection away`)
  for (const { name: server } of now.servers) {
    const known = await store.servers.named(server)
    for (const { environment } of known ? await store.servers.memberships(known.id) : []) {
      const other = environment === id ? null : await store.applications.environmentById(environment)
      if (other?.config.environments[other.name]?.protected === true)
        mustMay(
          caller,
          'administer',
          other.id,
          `in ${other.application}/${other.name}, which is protected, and so not use its server ${server} in ${name}`,
        )
    }
  }
}

type Key = string

/** What of a dploy.yml concerns an environment and differs: keys of its own as `environment.KEY`. */
function changedKeys(old: Config | null, now: Config, name: string): Key[] {
  const keys = [
    ...Object.keys(now).filter((key) => key !== 'environments' && key !== 'application'),
    ...Object.keys(now.environments[name] ?? {}).map((key) => `environment.${key}`),
  ]
  return keys.filter((key) =>
    old === null
      ? part(now, name, key) !== undefined
      : !isDeepStrictEqual(plain(part(old, name, key)), plain(part(now, name, key))),
  )
}

function part(config: Config, name: string, key: Key): unknown {
  const own = key.startsWith('environment.') ? key.slice('environment.'.length) : null
  return own === null
    ? (config as unknown as Record<string, unknown>)[key]
    : (config.environments[name] as unknown as Record<string, unknown> | undefined)?.[own]
}

/** As it comes back from the database. */
function plain(value: unknown): unknown {
  return value === undefined ? undefined : JSON.parse(JSON.stringify(value))
}
