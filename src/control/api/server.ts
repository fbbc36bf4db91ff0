import { chmod, rm } from 'node:fs/promises'
import { hostname } from 'node:os'
import fastify, {
  type FastifyInstance,
  type FastifyReply,
  type FastifyRequest,
  type FastifyServerOptions,
} from 'fastify'
import { serializerCompiler, validatorCompiler } from 'fastify-type-provider-zod'
import type * as z from 'zod'
import { WebSocketServer } from 'ws'
import { routes, type RouteName, type Routes } from '../../protocol/api/contract.ts'
import type { Route } from '../../protocol/api/route.ts'
import { DployError, reportOf } from '../../protocol/errors.ts'
import { maxBodyBytes, maxHeadBytes } from '../../protocol/frame.ts'
import { admit } from './call/access.ts'
import { askedServers } from './servers/asked-servers.ts'
import { localCaller, type Caller } from './call/caller.ts'
import type { ApiContext } from './context.ts'
import { streamEvents, streamText } from './call/event-stream.ts'
import { keyOf, once, onceStreamed } from './call/idempotency.ts'
import { identify } from './call/identify.ts'
import { tagged } from './call/entity-tag.ts'
import { addReference } from './reference/reference.ts'
import { endWithAccess } from './call/still.ts'
import { setSafeHeaders } from './call/origin.ts'
import { addInstallFiles } from '../install/routes.ts'
import { bodyLimitOf, readShallowJson } from './call/body-limits.ts'
import { headLimits, limitBodies, paceOf } from './call/pace.ts'
import { addPageFiles, sendPage } from './pages.ts'
import { answerProblem, refuseAddress, refuseConnection, sendNotFound, told } from './call/problem.ts'
import { isAudited, Recording, recorded, recordRefusal, type Change } from './call/recorder.ts'
import { signAs } from './call/signing.ts'

type Part<R, K extends string> = R extends Record<K, infer S extends z.ZodType> ? z.output<S> : undefined
export interface Call<N extends RouteName> {
  params: Part<Routes[N], 'params'>
  query: Part<Routes[N], 'query'>
  body: Part<Routes[N], 'body'>
  caller: Caller
  /** Aborts when the client went away. */
  signal: AbortSignal
  /** `Last-Event-ID` of a stream that is taken up again. */
  lastEventId: number | null
  /** Id under which the answer will be kept, where the request came with an Idempotency-Key. */
  answer: string | null
  request: FastifyRequest
  reply: FastifyReply
  /** What the audit log is to say of it. */
  tell(change: Change): void
}
type Answer<N extends RouteName> = z.output<Routes[N]['response']>
/** A handler per route: a promise of the answer, or for streams the events, with `id` for what can be resumed. */
export type Handlers = {
  [N in RouteName]: Routes[N] extends { stream: 'events' }
    ? (call: Call<N>) => AsyncIterable<{ id?: number; data: Answer<N> }>
    : Routes[N] extends { stream: 'text' }
      ? (call: Call<N>) => AsyncIterable<string>
      : (call: Call<N>) => Promise<Answer<N>>
}

/** By Zod. Named here, so that Fastify does not load its own, which take longer than all routes. */
const compilersFactory = {
  buildValidator: () => validatorCompiler,
  buildSerializer: () => serializerCompiler,
} as unknown as NonNullable<FastifyServerOptions['schemaController']>['compilersFactory']

export interface ListenOptions {
  /** A TCP address, for which callers need a token. */
  tcp?: { host: string; port: number } | undefined
  /** A unix socket that only this user can open, for which callers need none. */
  socket?: string | undefined
}

/** The API over HTTP, and the WebSocket at which agents arrive. Answers the URL of the TCP address, if there is one. */
export async function serveApi(
  context: ApiContext,
  handlers: Handlers,
  listen: ListenOptions,
): Promise<AsyncDisposable & { url: string | null; port: number | null }> {
  const servers: FastifyInstance[] = []
  let port: number | null = null
  let url: string | null = null
  if (listen.socket !== undefined) {
    const server = makeServer(context, handlers, async () => localCaller)
    await rm(listen.socket, { force: true })
    await server.listen({ path: listen.socket })
    await chmod(listen.socket, 0o600)
    servers.push(server)
  }
  if (listen.tcp) {
    const server = makeServer(context, handlers, (request, reply) => identify(context, request, reply))
    acceptAgents(context, server)
    addInstallFiles(server, { publicUrl: context.publicUrl, controlKey: context.controlKey })
    try {
      await server.listen(listen.tcp)
    } catch (error) {
      throw new DployError(
        'request.invalid',
        `Cannot listen on ${listen.tcp.host}:${listen.tcp.port}: ${(error as Error).message}`,
        { fix: 'Choose another with --listen HOST:PORT', cause: error },
      )
    }
    port = (server.server.address() as { port: number }).port
    url = `http://${listen.tcp.host.includes(':') ? `[${listen.tcp.host}]` : listen.tcp.host}:${port}`
    context.address.url = openable(url)
    servers.push(server)
  }
  return {
    url,
    port,
    async [Symbol.asyncDispose]() {
      context.closing = true
      await Promise.all(servers.map((server) => server.close()))
    },
  }
}

/** An address that stands for every network is none that a browser elsewhere can open. */
function openable(url: string): string {
  return url.replace(/\/\/(?:0\.0\.0\.0|\[::\])/, `//${hostname()}`)
}

function makeServer(context: ApiContext, handlers: Handlers, identify: Identify): FastifyInstance {
  // A proxy on this machine says for whom it asks; nobody else is believed that.
  const server = fastify({
    logger: false,
    trustProxy: 'loopback',
    forceCloseConnections: true,
    // What no route of the contract takes, such as a join, is short. Bytes.
    bodyLimit: 64 * 1024,
    return503OnClosing: false,
    frameworkErrors: refuseAddress,
    clientErrorHandler: (error, socket) => refuseConnection(error, socket, context.refusals),
    http: headLimits(context.requestSeconds),
    routerOptions: { maxParamLength: 500 },
    schemaController: { compilersFactory },
  })
  server.addHook('onRequest', async (_request, reply) => setSafeHeaders(reply))
  limitBodies(server, context.requestSeconds, context.refusals)
  context.measured.watch(server)
  readShallowJson(server)
  server.removeContentTypeParser('text/plain')
  server.addContentTypeParser('application/zstd', (_request, payload, done) => done(null, payload))
  server.addContentTypeParser('application/octet-stream', (_request, payload, done) => done(null, payload))
  server.setErrorHandler((error, request, reply) => answerProblem(context, error, request, reply))
  server.setNotFoundHandler(async (request, reply) => {
    if (context.pages && (await sendPage(request, reply, context.pages))) return reply
    sendNotFound(server, request, reply)
    return reply
  })
  if (context.pages) addPageFiles(server, context.pages)
  addReference(server)
  const all = Object.entries(routes) as [RouteName, Route][]
  for (const [name, route] of all)
    if (route.stream !== 'bytes') addRoute(server, name, route, handlers, identify, context)
  void server.register(async (scope) => {
    // What is signed is signed as bytes: nothing may read them before.
    scope.removeAllContentTypeParsers()
    scope.addContentTypeParser('*', { parseAs: 'buffer' }, (_request, body, done) => done(null, body))
    for (const [name, route] of all)
      if (route.stream === 'bytes') addRoute(scope, name, route, handlers, identify, context)
  })
  return server
}

function addRoute(
  server: FastifyInstance,
  name: RouteName,
  route: Route,
  handlers: Handlers,
  identify: Identify,
  context: ApiContext,
): void {
  server.route({
    method: route.method,
    url: route.path,
    bodyLimit: bodyLimitOf(name, route),
    schema: {
      ...(route.params ? { params: route.params } : {}),
      ...(route.query ? { querystring: route.query } : {}),
      ...(route.body ? { body: route.body } : {}),
      ...(route.stream === 'events' || route.stream === 'text' ? {} : { response: { 200: route.response } }),
    },
    config: { pace: paceOf(route) },
    ...(route.etag ? { onSend: tagged } : {}),
    async onRequest(request, reply) {
      const caller = await identify(request, reply)
      callers.set(request, caller)
      try {
        await admit(context, route, caller, request)
        // What nobody gave out is refused before its body is read.
        if (name === 'receiveDelivery') {
          const { data } = routes.receiveDelivery.params.safeParse(request.params)
          if (data) await context.store.webhooks.get(data.webhook)
        }
      } catch (error) {
        if (isAudited(route) && route.audited !== 'changes' && caller.kind !== 'anyone')
          await recordRefusal(context, name, caller, request.params, reportOf(error).code)
        throw error
      }
    },
    async handler(request, reply) {
      const gone = new AbortController()
      reply.raw.on('close', () => gone.abort(new DployError('connection.closed', 'The client went away')))
      const { application, environment } = (name === 'deployments' ? request.query : (request.params ?? {})) as {
        application?: string
        environment?: string
      }
      if (context.shared.alone && application !== undefined && environment !== undefined) {
        const found = await context.store.applications.environment(application, environment)
        await context.shared.look(found, gone.signal, await askedServers(name, request, found, context.store))
      }
      const last = Number(request.headers['last-event-id'])
      const caller = callers.get(request)!
      const keyed = route.idempotent ? keyOf(name, caller, request) : null
      signAs(caller, request.body, request.query)
      const recording = () => (isAudited(route) ? Recording.begin(context, name, route, caller, request) : null)
      const callWith = (told: Recording | null, answer: string | null) => ({
        params: request.params,
        query: request.query,
        body: request.body,
        caller,
        signal: gone.signal,
        lastEventId: Number.isSafeInteger(last) ? last : null,
        answer,
        request,
        reply,
        tell: (change: Change) => told?.tell(change),
      })
      const handle = handlers[name] as (call: unknown) => unknown
      if (route.stream !== undefined) endWithAccess(context, route, caller, request, gone)
      if (route.stream === 'events') {
        context.measured.streams++
        reply.raw.once('close', () => context.measured.streams--)
        const events = async function* () {
          const record = await recording()
          yield* recorded(record, handle(callWith(record, null)) as AsyncIterable<{ id?: number; data: unknown }>)
        }
        return streamEvents(reply, keyed ? onceStreamed(context, keyed, events) : events(), (error) =>
          told(context, error, request),
        )
      }
      const work = async (answer: string | null) => {
        const record = await recording()
        const call = callWith(record, answer)
        if (route.stream === 'text') return streamText(reply, handle(call) as AsyncIterable<string>)
        return record ? record.around(async () => handle(call)) : handle(call)
      }
      return keyed ? once(context, keyed, reply, work) : work(null)
    },
  })
}

type Identify = (request: FastifyRequest, reply: FastifyReply) => Promise<Caller>
const callers = new WeakMap<FastifyRequest, Caller>()

function acceptAgents(context: ApiContext, server: FastifyInstance): void {
  const sockets = new WebSocketServer({
    noServer: true,
    maxPayload: 8 + maxHeadBytes + maxBodyBytes,
    perMessageDeflate: false,
  })
  server.server.on('upgrade', (request, socket, head) => {
    if (request.url !== '/agents/connect' || request.headers.origin !== undefined) {
      socket.end('HTTP/1.1 404 Not Found\r\nConnection: close\r\n\r\n')
      return
    }
    sockets.handleUpgrade(request, socket, head, (webSocket) =>
      context.gateway.accept(webSocket, `${request.socket.remoteAddress}:${request.socket.remotePort}`, socket),
    )
  })
  server.addHook('preClose', async () => {
    for (const client of sockets.clients) client.terminate()
    sockets.close()
  })
}
