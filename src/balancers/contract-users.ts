import { Agent, request as httpRequest, type ClientRequest } from 'node:http'

/** Users of the contract suite: they keep their connections, as browsers do. */
export class Users implements Disposable {
  readonly #url: string
  readonly #agent: Agent
  readonly #repeat: boolean

  /**
   * `repeat`: a GET whose kept connection was closed before any answer is sent again on another one, as every browser
   * does (RFC 9112, 9.3.1). For balancers that close idle connections when they reload.
   */
  constructor(url: string, options: { repeat: boolean }) {
    this.#url = url
    // Without maxSockets: a request that waited for a connection does not say that it was a kept one (reusedSocket).
    this.#agent = new Agent({ keepAlive: true })
    this.#repeat = options.repeat
  }

  /** The status and text of an answer. Throws when the connection breaks. */
  get(path = '/'): Promise<{ status: number; text: string }> {
    return new Promise((resolve, reject) => {
      const asked: ClientRequest = httpRequest(new URL(path, this.#url), { agent: this.#agent })
      asked.once('response', (answer) => {
        let text = ''
        answer.setEncoding('utf8')
        answer.on('data', (chunk: string) => (text += chunk))
        answer.once('end', () => resolve({ status: answer.statusCode!, text }))
        answer.once('error', reject)
      })
      asked.once('error', (error) => {
        if (this.#repeat && asked.reusedSocket) this.get(path).then(resolve, reject)
        else reject(error)
      })
      asked.end()
    })
  }

  /** The names that answered `count` requests, one after another. */
  async names(count: number): Promise<string[]> {
    const names: string[] = []
    for (let index = 0; index < count; index++) {
      const { status, text } = await this.get()
      names.push(status === 200 ? text : `${status}`)
    }
    return names
  }

  [Symbol.dispose](): void {
    this.#agent.destroy()
  }
}
