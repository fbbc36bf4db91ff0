import { STATUS_CODES } from 'node:http'
import type { Socket } from 'node:net'
import type { FastifyInstance, FastifyReply, FastifyRequest, HTTPMethods } from 'fastify'
import { hasZodFastifySchemaValidationErrors } from 'fastify-type-provider-zod'
import { routes } from '../../../protocol/api/contract.ts'
import type { Route } from '../../../protocol/api/route.ts'
import { DployError, errorTable, reportOf, type ErrorCode, type ErrorReport } from '../../../protocol/errors.ts'
import type { Refusals } from '../../refusals.ts'
import type { ApiContext } from '../context.ts'
import { setSafeHeaders } from './origin.ts'

/** Every error of the API as application/problem+json (RFC 9457): also those that no handler ever sees. */

export function problemOf(report: ErrorReport, status: number = errorTable[report.code].status) {
  return {
    type: `urn:dploy:error:${report.code}`,
    title: errorTable[report.code].title,
    status,
    detail: report.message,
    code: report.code,
    fix: report.fix,
    ...(report.where === undefined ? {} : { where: report.where }),
  }
}

export function sendProblem(reply: FastifyReply, report: ErrorReport, status?: number): void {
  const problem = problemOf(report, status)
  void reply
    .code(problem.status)
    .header('content-type', 'application/problem+json')
    .serializer((value: unknown) => JSON.stringify(value))
    .send(problem)
}

/** Answers whatever a route threw. */
export function answerProblem(context: ApiContext, error: unknown, request: FastifyRequest, reply: FastifyReply): void {
  if (hasZodFastifySchemaValidationErrors(error)) {
    const issue = error.validation[0]
    const where = `${error.validationContext ?? 'request'}${issue?.instancePath ?? ''}`.slice(0, 300)
    const report = new DployError('request.invalid', `${where}: ${(issue?.message ?? 'not valid').slice(0, 1_000)}`, {
      where,
    }).toJSON()
    noteStranger(context, request, report)
    return sendProblem(reply, report)
  }
  if (!(error instanceof DployError)) {
    const own = ofFramework(error, request)
    if (own) {
      noteStranger(context, request, own.toJSON())
      return sendProblem(reply, own.toJSON())
    }
  }
  const report = told(context, error, request)
  noteStranger(context, request, report)
  sendProblem(reply, report)
}

/** What anybody may try, and was refused: a join above all. The audit log does not keep it, so that nobody fills it. */
function noteStranger({ refusals }: ApiContext, request: FastifyRequest, report: ErrorReport): void {
  if (
    request.method === 'GET' ||
    request.routeOptions.config.pace !== 'strict' ||
    errorTable[report.code].status >= 500
  )
    return
  refusals.note('a request of a stranger was refused', {
    remote: request.ip,
    path: request.routeOptions.url,
    code: report.code,
    reason: report.message.slice(0, 300),
  })
}

/** What is said of an error to who asked. What is none of ours is logged, and its text told to nobody. */
export function told(context: ApiContext, error: unknown, request: FastifyRequest): ErrorReport {
  const report = reportOf(error)
  if (report.code === 'internal')
    context.log.error({ err: error, url: request.url.slice(0, 500) }, 'unexpected error in the API')
  return report.code === 'internal' && !(error instanceof DployError)
    ? { ...report, message: 'Something unexpected happened; the control plane logged it' }
    : report
}

/** What Fastify refuses before a handler runs, by its status (fastify.dev/docs/latest/Reference/Errors); null: it is another error. */
function ofFramework(error: unknown, request: FastifyRequest): DployError | null {
  const { statusCode, message } = error as { statusCode?: number; message: string }
  if (statusCode === undefined || statusCode >= 500) return null
  if (statusCode === 413) return new DployError('request.too_large')
  if (statusCode === 415) {
    const type = request.headers['content-type']
    return new DployError(
      'request.type',
      type === undefined ? 'The body has no Content-Type' : `A body of type ${type.slice(0, 100)} is not taken here`,
      { where: 'content-type' },
    )
  }
  return new DployError('request.invalid', message.slice(0, 500))
}

/** No route has this path and method. Says which methods the path has, if any. */
export function sendNotFound(server: FastifyInstance, request: FastifyRequest, reply: FastifyReply): void {
  const path = request.url.split('?')[0]!
  const allowed = methodsOf(server, path)
  if (allowed.length === 0)
    return sendProblem(
      reply,
      new DployError('not_found', `There is no ${request.method} ${path.slice(0, 200)}`, {
        fix: 'See /api for what there is',
      }).toJSON(),
    )
  void reply.header('allow', allowed.join(', '))
  sendProblem(
    reply,
    new DployError(
      'request.method',
      `${path.slice(0, 200)} takes ${allowed.join(', ')}, not ${request.method}`,
    ).toJSON(),
  )
}

function methodsOf(server: FastifyInstance, path: string): string[] {
  const found = new Set<string>()
  for (const { path: pattern, method } of Object.values(routes) as Route[]) {
    if (
      !new RegExp(`^${pattern.replaceAll(/[.]/g, '\\.').replaceAll(/:\w+/g, '[^/]+')}/?$`).test(path) ||
      !server.hasRoute({ url: pattern, method: method as HTTPMethods })
    )
      continue
    found.add(method)
    if (method === 'GET') found.add('HEAD')
  }
  return [...found].sort()
}

/** What is refused before there is a route: an address that is none. */
export function refuseAddress(_error: unknown, _request: FastifyRequest, reply: FastifyReply): void {
  setSafeHeaders(reply)
  sendProblem(
    reply,
    new DployError('request.invalid', 'The address of the request is not valid', { where: 'path' }).toJSON(),
  )
}

const codes: Record<string, ErrorCode> = {
  HPE_HEADER_OVERFLOW: 'request.header_too_large',
  ERR_HTTP_REQUEST_TIMEOUT: 'request.timeout',
}

/** How long who was refused may take to read why, before the connection is gone. Milliseconds. */
const lastWords = 1_000

/** What is no HTTP, or too much of it, or comes too slowly: there is no request yet, so the answer is written by hand. */
export function refuseConnection(error: NodeJS.ErrnoException, socket: Socket, refusals: Refusals): void {
  if (error.code === 'ECONNRESET' || socket.destroyed || !socket.writable) return void socket.destroy()
  const code = codes[error.code ?? ''] ?? 'request.invalid'
  refusals.note(
    code === 'request.timeout' ? 'a request that does not come was cut off' : 'what is no HTTP request was refused',
    { remote: socket.remoteAddress, code: error.code },
  )
  const problem = problemOf(
    new DployError(code, code === 'request.invalid' ? 'This is no HTTP request' : undefined).toJSON(),
  )
  const body = JSON.stringify(problem)
  const head = [
    `HTTP/1.1 ${problem.status} ${STATUS_CODES[problem.status]}`,
    'content-type: application/problem+json',
    `content-length: ${Buffer.byteLength(body)}`,
    'x-content-type-options: nosniff',
    'cache-control: no-store',
    'connection: close',
  ]
  socket.end(`${head.join('\r\n')}\r\n\r\n${body}`)
  // Who does not close the other half keeps it no longer.
  setTimeout(() => socket.destroy(), lastWords).unref()
}
