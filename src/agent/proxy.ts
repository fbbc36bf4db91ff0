import { request } from 'node:http'
import { isIP, type Socket } from 'node:net'
import { connect as connectTls } from 'node:tls'
import { DployError } from '../protocol/errors.ts'

/** How long a proxy has to open a way. Milliseconds. */
const patience = 10_000

/** The proxy by which a control plane is reached: `HTTPS_PROXY`, with or without `http://`, unless `NO_PROXY` excepts its host, or its host and port. Null: none. Throws `request.invalid`. */
export function proxyFor(control: string, environment: NodeJS.ProcessEnv): string | null {
  const proxy = environment.HTTPS_PROXY || environment.https_proxy
  if (!proxy) return null
  const { hostname, host } = new URL(control)
  const excepted = (environment.NO_PROXY || environment.no_proxy || '')
    .split(',')
    .map((one) => one.trim().replace(/^\*?\./, ''))
  return excepted.some(
    (one) => one === '*' || (one !== '' && (hostname === one || host === one || hostname.endsWith(`.${one}`))),
  )
    ? null
    : wholeAddress(proxy)
}

/** As curl takes it too. What stands in it is not repeated in the error: it may hold a password. */
function wholeAddress(proxy: string): string {
  const whole = proxy.includes('://') ? proxy : `http://${proxy}`
  if (!URL.canParse(whole) || new URL(whole).protocol !== 'http:')
    throw new DployError('request.invalid', 'HTTPS_PROXY is not the address of an HTTP proxy', {
      fix: 'For example: HTTPS_PROXY=http://proxy.example.org:3128',
    })
  return whole
}

/** A connection to the host of `address` through an HTTP proxy (CONNECT, RFC 9110 9.3.6), with TLS in it where the address says so. Throws `connection.closed`. */
export async function connectThrough(proxy: string, address: URL, signal?: AbortSignal): Promise<Socket> {
  const { hostname, port, username, password } = new URL(proxy)
  const secure = address.protocol === 'https:' || address.protocol === 'wss:'
  const target = `${address.hostname}:${address.port || (secure ? 443 : 80)}`
  const credentials =
    username === ''
      ? {}
      : {
          'proxy-authorization': `Basic ${Buffer.from(`${decodeURIComponent(username)}:${decodeURIComponent(password)}`).toString('base64')}`,
        }
  const socket = await new Promise<Socket>((resolve, reject) => {
    const closed = (why: string, cause?: unknown) =>
      reject(
        new DployError('connection.closed', `The proxy at ${hostname} ${why}`, {
          fix: 'Check HTTPS_PROXY, or --proxy of install.sh',
          cause,
        }),
      )
    const asked = request({
      host: hostname.replace(/^\[|\]$/g, ''),
      port: port || 80,
      method: 'CONNECT',
      path: target,
      headers: { host: target, ...credentials },
      agent: false,
      ...(signal && { signal }),
    })
    asked.setTimeout(patience, () => asked.destroy(new Error('it took too long')))
    asked.once('error', (error) => closed(`does not answer: ${error.message}`, error))
    asked.once('connect', (response, connection: Socket) => {
      connection.setTimeout(0)
      if (response.statusCode === 200) return resolve(connection)
      connection.destroy()
      closed(`refused ${target}: ${response.statusCode}`)
    })
    asked.end()
  })
  // TLS names no IP address (RFC 6066, 3); the certificate is checked against it all the same.
  const host = address.hostname.replace(/^\[|\]$/g, '')
  return secure ? connectTls({ socket, host, ...(isIP(host) === 0 && { servername: host }) }) : socket
}
