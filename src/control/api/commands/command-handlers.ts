import { bodyOf } from '../call/body.ts'
import type { ApiContext } from '../context.ts'
import { paged, timeCursor } from '../call/cursor.ts'
import type { Call, Handlers } from '../server.ts'

/** What the routes of people's own commands do. */
export function commandHandlers(
  context: ApiContext,
): Pick<Handlers, 'exec' | 'interruptRun' | 'shell' | 'runInput' | 'copyTo' | 'copyFrom' | 'runs'> {
  const { store, commands } = context
  return {
    exec: (call) => execEvents(context, call),

    async interruptRun({ params }) {
      await commands.interrupt(params.run)
      return {}
    },

    shell: (call) => shellEvents(context, call),

    async runInput({ params, body }) {
      await commands.input(params.run, { bytes: Buffer.from(body.base64, 'base64'), size: body.size, end: body.end })
      return {}
    },

    async copyTo({ params, query, caller, signal, request }) {
      const environment = await store.applications.environment(params.application, params.environment)
      const { server, requestedBy, ...file } = query
      return {
        outcomes: await context.copies.to({
          environment,
          servers: server,
          ...file,
          content: bodyOf(request),
          requestedBy: requestedBy ?? caller.name,
          signal,
        }),
      }
    },

    copyFrom: (call) => copyEvents(context, call),

    async runs({ params, query }) {
      const environment = await store.applications.environment(params.application, params.environment)
      const { page, next } = paged(
        await store.runs.list(environment.id, query.limit + 1, timeCursor(query.cursor)),
        query.limit,
        (run) => `${run.startedAt}.${run.id}`,
      )
      return { runs: page, next }
    },
  }
}

async function* execEvents(context: ApiContext, call: Call<'exec'>) {
  const { on, requestedBy, ...rest } = call.body
  const environment = await context.store.applications.environment(call.params.application, call.params.environment)
  for await (const data of context.commands.exec({
    ...rest,
    on,
    user: rest.user,
    environment,
    requestedBy: requestedBy ?? call.caller.name,
    signal: call.signal,
  }))
    yield* toldOf(call, data)
}

async function* shellEvents(context: ApiContext, call: Call<'shell'>) {
  const { columns, rows, kind, user, sudo, requestedBy } = call.body
  const environment = await context.store.applications.environment(call.params.application, call.params.environment)
  const on = { servers: [call.params.server], tags: {} }
  const events = context.commands.exec({
    environment,
    command: null,
    terminal: { columns, rows, kind },
    on,
    batch: null,
    timeout: null,
    user,
    sudo,
    requestedBy: requestedBy ?? call.caller.name,
    signal: call.signal,
  })
  for await (const data of events) yield* toldOf(call, data)
}

async function* copyEvents(context: ApiContext, call: Call<'copyFrom'>) {
  const { server, path, requestedBy } = call.query
  const environment = await context.store.applications.environment(call.params.application, call.params.environment)
  for await (const data of context.copies.from({
    environment,
    servers: server,
    path,
    requestedBy: requestedBy ?? call.caller.name,
    signal: call.signal,
  }))
    yield* toldOf(call, data)
}

/** For the audit log: the run that has the outcome on every server. */
function* toldOf<T extends { kind: string }>(call: Pick<Call<'exec'>, 'tell'>, data: T): Generator<{ data: T }> {
  if ('run' in data) call.tell({ subject: String(data.run) })
  yield { data }
}
