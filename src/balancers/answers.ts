import { request } from 'node:http'
import { connect } from 'node:net'

/** How long a server has to answer. Milliseconds. */
const answerTimeout = 1_000

/**
 * Asks a server itself, for balancers that have no check of their own: `GET path` has to be answered with 200 to 399, or,
 * without a path, a TCP connection taken. `address` is HOST:PORT. Never throws; `check` says what was seen, for people.
 */
export function answers(address: string, path: string | undefined): Promise<{ up: boolean; check: string }> {
  const { host, port } = splitAddress(address)
  return new Promise((resolve) => {
    if (path === undefined) {
      const socket = connect({ host, port, timeout: answerTimeout })
      const end = (up: boolean, check: string) => {
        socket.destroy()
        resolve({ up, check })
      }
      socket.once('connect', () => end(true, `${address} takes connections`))
      socket.once('timeout', () => end(false, `${address} did not take a connection within ${answerTimeout / 1000} s`))
      socket.once('error', (error) => end(false, reasonOf(error)))
      return
    }
    const asked = request({ host, port, path, agent: false, timeout: answerTimeout })
    asked.once('response', (answer) => {
      answer.resume()
      resolve({ up: answer.statusCode! < 400, check: `${address}${path} answered ${answer.statusCode}` })
    })
    asked.once('timeout', () =>
      asked.destroy(new Error(`${address}${path} did not answer within ${answerTimeout / 1000} s`)),
    )
    asked.once('error', (error) => resolve({ up: false, check: reasonOf(error) }))
    asked.end()
  })
}

/** What went wrong; trying several addresses of a host fails without a message of its own. */
function reasonOf(error: NodeJS.ErrnoException): string {
  return error.message || (error.code ?? 'no connection')
}

/** The parts of `HOST:PORT` or `[IPv6]:PORT`. */
export function splitAddress(address: string): { host: string; port: number } {
  const colon = address.lastIndexOf(':')
  return { host: address.slice(0, colon).replace(/^\[|\]$/g, ''), port: Number(address.slice(colon + 1)) }
}
