/** What a person chose of an environment's servers: tags as `name=value`, and servers by name. */
export interface Choice {
  tags: readonly string[]
  servers: readonly string[]
}

interface Tagged {
  name: string
  tags: Record<string, string>
}

/** The servers that were named, and those that have all of the tags; of one tag's several values any. Nothing chosen: all. Pure. */
export function chosenServers(all: readonly Tagged[], { tags, servers }: Choice): string[] {
  if (tags.length + servers.length === 0) return all.map(({ name }) => name)
  const wanted = Map.groupBy(tags, (tag) => tag.slice(0, tag.indexOf('=')))
  const fits = (server: Tagged) =>
    tags.length > 0 && [...wanted].every(([name, values]) => values.includes(`${name}=${server.tags[name]}`))
  return all.filter((server) => servers.includes(server.name) || fits(server)).map(({ name }) => name)
}

/** The same as `dploy exec` takes it: tags where it is only those, each of another name; else the servers. */
export function optionsOf(all: readonly Tagged[], choice: Choice): string {
  const { tags, servers } = choice
  if (tags.length + servers.length === 0) return ''
  const names = new Set(tags.map((tag) => tag.slice(0, tag.indexOf('='))))
  if (servers.length === 0 && names.size === tags.length) return tags.map((tag) => ` --tag ${tag}`).join('')
  return chosenServers(all, choice)
    .map((name) => ` --on ${name}`)
    .join('')
}
