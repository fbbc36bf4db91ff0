import { randomUUID } from 'node:crypto'
import { once } from 'node:events'
import { createServer, type IncomingMessage, type Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import { classicActions } from './classic-actions.ts'
import { Pool, type PoolOptions } from './pool.ts'
import { QueryError, QueryParameters, xml, type XmlValue } from './query.ts'
import { verifySignature, type Credentials } from './signature.ts'
import { targetGroupActions } from './target-group-actions.ts'

/** One call that was asked of the server, and what it answered: `ok`, or the code of the error. */
export interface Call {
  action: string
  version: string
  parameters: Record<string, string>
  /** Milliseconds of performance.now. */
  at: number
  answer: string
}

export interface ElbServerOptions {
  region?: string
  credentials?: Credentials
  /** Instances of the account: where each can be reached. */
  instances?: Record<string, string>
  /** Milliseconds that one second of delays and health checks takes. */
  second?: number
}

export type Action = (parameters: QueryParameters, server: ElbServer) => XmlValue
/** Every action of one version of the API that the server speaks. */
export type Actions = Record<string, Action>

const versions: Record<string, { namespace: string; actions: Actions }> = {
  '2015-12-01': { namespace: 'http://elasticloadbalancing.amazonaws.com/doc/2015-12-01/', actions: targetGroupActions },
  '2012-06-01': { namespace: 'http://elasticloadbalancing.amazonaws.com/doc/2012-06-01/', actions: classicActions },
}

/**
 * Speaks Elastic Load Balancing's Query protocol as it is documented, version 2015-12-01 (Application and Network) and
 * 2012-06-01 (Classic), for tests that cannot reach AWS: verifies signatures, refuses parameters that it does not know,
 * checks targets for real and passes requests on to them (front.ts).
 */
export class ElbServer implements AsyncDisposable {
  readonly region: string
  readonly credentials: Credentials
  /** All whose signature is right. */
  readonly accepted: Credentials[]
  readonly endpoint: string
  readonly calls: Call[] = []
  readonly pools = new Map<string, Pool>()
  readonly instances: Map<string, string>
  /** Asked before each call that is signed right: an error that is answered instead. */
  fault: (action: string, parameters: Record<string, string>, accessKeyId: string) => QueryError | null = () => null
  readonly #second: number
  readonly #server: Server

  private constructor(options: ElbServerOptions, server: Server) {
    this.region = options.region ?? 'eu-central-1'
    this.credentials = options.credentials ?? {
      accessKeyId: 'AKIDEXAMPLE',
      secretAccessKey: 'wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY',
      sessionToken: 'session/token+example==',
    }
    this.accepted = [this.credentials]
    this.instances = new Map(Object.entries(options.instances ?? {}))
    this.#second = options.second ?? 1000
    this.#server = server
    this.endpoint = `http://127.0.0.1:${(server.address() as AddressInfo).port}`
  }

  static async start(options: ElbServerOptions = {}): Promise<ElbServer> {
    const http = createServer()
    http.listen(0, '127.0.0.1')
    await once(http, 'listening')
    const server = new ElbServer(options, http)
    http.on('request', (request, response) => {
      void server.#answer(request).then(({ status, text }) => {
        response.writeHead(status, { 'content-type': 'text/xml' }).end(text)
      })
    })
    return server
  }

  /** Makes a target group, or a classic balancer. Defaults are AWS's own, but for a delay and checks that tests can wait for. */
  pool(options: Partial<PoolOptions> & { name: string }): Pool {
    const pool = new Pool(
      {
        port: 80,
        kind: 'application',
        targetType: 'instance',
        delay: 1,
        interval: 1,
        timeout: 1,
        healthy: 2,
        unhealthy: 2,
        path: '/healthz',
        slowStart: 0,
        used: true,
        lag: 20,
        ...options,
      },
      this.#second,
      (id) => (options.targetType === 'ip' ? id : (this.instances.get(id) ?? null)),
    )
    this.pools.set(options.name, pool)
    return pool
  }

  arn(name: string): string {
    return `arn:aws:elasticloadbalancing:${this.region}:123456789012:targetgroup/${name}/73e2d6bc24d8a067`
  }

  /** How often an action was answered. */
  count(action: string, answer = 'ok'): number {
    return this.calls.filter((call) => call.action === action && call.answer === answer).length
  }

  /** The next `count` calls of these actions (default: all) are throttled. */
  throttle(count: number, ...actions: string[]): void {
    const before = this.fault
    let left = count
    this.fault = (action, parameters, accessKeyId) => {
      if (left > 0 && (actions.length === 0 || actions.includes(action))) {
        left--
        return new QueryError('Throttling', 'Rate exceeded')
      }
      return before(action, parameters, accessKeyId)
    }
  }

  /** From now on the credentials are too old. */
  expire(): void {
    this.fault = () => new QueryError('ExpiredToken', 'The security token included in the request is expired', 403)
  }

  /** From now on these actions are not allowed. */
  deny(...actions: string[]): void {
    this.fault = (action) =>
      actions.includes(action)
        ? new QueryError(
            'AccessDenied',
            `User: arn:aws:sts::123456789012:assumed-role/deployer/i-0 is not authorized to perform: elasticloadbalancing:${action} because no identity-based policy allows the elasticloadbalancing:${action} action`,
            403,
          )
        : null
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const pool of this.pools.values()) pool[Symbol.dispose]()
    this.#server.closeAllConnections()
    if (this.#server.listening) await new Promise((resolve) => this.#server.close(resolve))
  }

  async #answer(request: IncomingMessage): Promise<{ status: number; text: string }> {
    const chunks: Buffer[] = []
    for await (const chunk of request) chunks.push(chunk as Buffer)
    const body = Buffer.concat(chunks).toString('utf8')
    const plain = Object.fromEntries(new URLSearchParams(body))
    const version = plain['Version'] ?? ''
    const namespace = versions[version]?.namespace ?? versions['2015-12-01']!.namespace
    const call: Call = {
      action: plain['Action'] ?? '',
      version,
      parameters: plain,
      at: performance.now(),
      answer: 'ok',
    }
    this.calls.push(call)
    const id = randomUUID()
    try {
      const result = this.#perform(request, body, call)
      const inner = `${xml(`${call.action}Result`, result) || `<${call.action}Result/>`}<ResponseMetadata><RequestId>${id}</RequestId></ResponseMetadata>`
      return { status: 200, text: `<${call.action}Response xmlns="${namespace}">${inner}</${call.action}Response>` }
    } catch (error) {
      const known =
        error instanceof QueryError
          ? error
          : new QueryError('InternalFailure', `The test server failed: ${String(error)}`, 500)
      call.answer = known.code
      return {
        status: known.status,
        text: `<ErrorResponse xmlns="${namespace}"><Error><Type>${known.status < 500 ? 'Sender' : 'Receiver'}</Type>${xml('Code', known.code)}${xml('Message', known.message)}</Error><RequestId>${id}</RequestId></ErrorResponse>`,
      }
    }
  }

  #perform(request: IncomingMessage, body: string, call: Call): XmlValue {
    if (request.method !== 'POST' || request.url !== '/')
      throw new QueryError('InvalidAction', `The Query protocol is POST /, not ${request.method} ${request.url}`, 404)
    if (!/^application\/x-www-form-urlencoded(;|$)/.test(request.headers['content-type'] ?? ''))
      throw new QueryError('ValidationError', 'The body is not form-urlencoded')
    const accessKeyId = verifySignature(
      { method: request.method, path: request.url, headers: request.headers, body },
      this.accepted,
      this.region,
    )
    const fault = this.fault(call.action, call.parameters, accessKeyId)
    if (fault) throw fault
    const parameters = new QueryParameters(body)
    const known = versions[parameters.text('Version')]
    const action = known?.actions[parameters.text('Action')]
    if (!action)
      throw new QueryError('InvalidAction', `Could not find operation ${call.action} for version ${call.version}`)
    return action(parameters, this)
  }
}
