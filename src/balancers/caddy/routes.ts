/** Caddy's configuration as JSON. */
export type Json = null | boolean | number | string | Json[] | { [key: string]: Json }
type JsonObject = { [key: string]: Json }

/** The HTTP server without address under which drained servers are kept in Caddy's configuration. */
export const parking = 'dploy-drained'

/** Where the HTTP servers stand in the admin API. */
export const top = '/config/apps/http/servers'

/** A reverse_proxy handler. */
export interface ProxyHandler {
  /** Its `@id`, if it has one. */
  id: string | null
  /** Where it stands, as the admin API calls it: /config/apps/http/servers/srv0/routes/0/handle/0. */
  path: string
  /** The addresses (`dial`) that it has. */
  dials: string[]
}

/** Every reverse_proxy handler under `apps.http.servers`, nested ones too, without those that keep drained servers. */
export function proxyHandlers(servers: Json): ProxyHandler[] {
  return [...handlersIn(servers, top)]
    .filter(({ path }) => !path.startsWith(`${top}/${parking}/`))
    .map(({ path, value }) => ({
      path,
      id: value['@id'] === undefined ? null : String(value['@id']),
      dials: upstreamsOf(value).map(dialOf),
    }))
}

/** The handler that dploy.yml names: by its `@id`, or by its path. */
export function findHandler(servers: Json, name: string): ProxyHandler | null {
  return (
    proxyHandlers(servers).find((handler) => (name.startsWith('/') ? handler.path === name : handler.id === name)) ??
    null
  )
}

/** The addresses of a handler that were taken out of it and are kept for their return. */
export function parkedDials(servers: Json, name: string): string[] {
  return parkedOf(servers, name).map(({ upstream }) => dialOf(upstream))
}

/**
 * The servers with the named addresses taken out of the handler (true), or put back to their place (false), with all that
 * is written about them. Caddy counts the requests of an address only while some handler has it, so a drained one stays in
 * a handler: of an HTTP server that listens nowhere.
 */
export function moved(servers: Json, name: string, changes: ReadonlyMap<string, boolean>): Json {
  const result = structuredClone(servers) as JsonObject
  const handler = [...handlersIn(result, top)].find(({ path, value }) =>
    name.startsWith('/') ? path === name : value['@id'] === name,
  )!.value
  const parked = parkedOf(result, name).toSorted((a, b) => a.index - b.index)
  const isParked = new Set(parked.map(({ upstream }) => dialOf(upstream)))
  const all = upstreamsOf(handler).filter((upstream) => !isParked.has(dialOf(upstream)))
  for (const { index, upstream } of parked) all.splice(index, 0, upstream)
  const isOut = (upstream: JsonObject) => changes.get(dialOf(upstream)) ?? isParked.has(dialOf(upstream))
  handler['upstreams'] = all.filter((upstream) => !isOut(upstream))
  const others = parkedRoutes(result).filter((route) => parkedIndex(route, name) === null)
  const routes = all.flatMap((upstream, index) =>
    isOut(upstream)
      ? [{ '@id': `${parking}:${name}:${index}`, handle: [{ handler: 'reverse_proxy', upstreams: [upstream] }] }]
      : [],
  )
  if (others.length + routes.length > 0) result[parking] = { listen: [], routes: [...others, ...routes] }
  else delete result[parking]
  return result
}

function parkedOf(servers: Json, name: string): { index: number; upstream: JsonObject }[] {
  return parkedRoutes(servers).flatMap((route) => {
    const index = parkedIndex(route, name)
    const handler = Array.isArray(route['handle']) ? route['handle'][0] : undefined
    return index === null || !isObject(handler) ? [] : upstreamsOf(handler).map((upstream) => ({ index, upstream }))
  })
}

function parkedRoutes(servers: Json): JsonObject[] {
  const server = isObject(servers) ? servers[parking] : undefined
  const routes = isObject(server) ? server['routes'] : undefined
  return Array.isArray(routes) ? routes.filter(isObject) : []
}

/** The place that the upstream of a route had in the handler; null if it was of another. */
function parkedIndex(route: JsonObject, name: string): number | null {
  const id = String(route['@id'])
  const start = `${parking}:${name}:`
  return id.startsWith(start) && /^\d+$/.test(id.slice(start.length)) ? Number(id.slice(start.length)) : null
}

function* handlersIn(value: Json | undefined, path: string): Generator<{ path: string; value: JsonObject }> {
  if (Array.isArray(value)) for (const [index, inner] of value.entries()) yield* handlersIn(inner, `${path}/${index}`)
  if (!isObject(value)) return
  if (value['handler'] === 'reverse_proxy') yield { path, value }
  for (const [key, inner] of Object.entries(value)) yield* handlersIn(inner, `${path}/${key}`)
}

function upstreamsOf(handler: JsonObject): JsonObject[] {
  return Array.isArray(handler['upstreams']) ? handler['upstreams'].filter(isObject) : []
}

function dialOf(upstream: JsonObject): string {
  return String(upstream['dial'])
}

function isObject(value: Json | undefined): value is JsonObject {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}
