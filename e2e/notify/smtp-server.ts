import { once } from 'node:events'
import { createServer, type Server, type Socket } from 'node:net'
import { createInterface } from 'node:readline'

export interface Mail {
  from: string
  to: string[]
  /** Headers and body as they came. */
  text: string
}

/** A small mail server (RFC 5321, RFC 4954): takes mail from who signs in with PLAIN, and refuses as it is told. No TLS. */
export class SmtpServer implements AsyncDisposable {
  readonly mails: Mail[] = []
  /** Everything that clients said. */
  readonly lines: string[] = []
  /** Answers to the next mails in place of taking them: `451 come back`. */
  readonly refusals: string[] = []
  readonly #server: Server
  readonly #sockets = new Set<Socket>()
  readonly #login: { user: string; password: string }

  private constructor(login: { user: string; password: string }) {
    this.#login = login
    this.#server = createServer((socket) => void this.#talk(socket))
  }

  static async up(login: { user: string; password: string }): Promise<SmtpServer> {
    const server = new SmtpServer(login)
    server.#server.listen(0, '127.0.0.1')
    await once(server.#server, 'listening')
    return server
  }

  get address(): string {
    return `127.0.0.1:${(this.#server.address() as { port: number }).port}`
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const socket of this.#sockets) socket.destroy()
    await new Promise((resolve) => this.#server.close(resolve))
  }

  async #talk(socket: Socket): Promise<void> {
    this.#sockets.add(socket)
    socket.on('error', () => {}).once('close', () => this.#sockets.delete(socket))
    const say = (...lines: string[]) => socket.write(lines.map((line) => `${line}\r\n`).join(''))
    say('220 mail.example.org ready')
    let mail: Mail = { from: '', to: [], text: '' }
    let signedIn = false
    let reading = false
    for await (const line of createInterface({ input: socket, crlfDelay: Infinity })) {
      if (reading) {
        if (line !== '.') {
          mail.text += `${line.startsWith('..') ? line.slice(1) : line}\n`
          continue
        }
        reading = false
        const refusal = this.refusals.shift()
        if (refusal === undefined) this.mails.push(mail)
        say(refusal ?? '250 taken')
        mail = { from: '', to: [], text: '' }
        continue
      }
      this.lines.push(line)
      const verb = line.split(/[ :]/)[0]!.toUpperCase()
      if (verb === 'EHLO') say('250-mail.example.org', '250-AUTH PLAIN', '250 8BITMIME')
      else if (verb === 'AUTH') {
        const [, user, password] = Buffer.from(line.split(' ')[2] ?? '', 'base64')
          .toString()
          .split('\0')
        signedIn = user === this.#login.user && password === this.#login.password
        say(signedIn ? '235 welcome' : `535 ${password} is wrong`)
      } else if (verb === 'QUIT') {
        say('221 bye')
        socket.end()
      } else if (!signedIn) say('530 sign in first')
      else if (verb === 'MAIL') {
        mail.from = /<(.*?)>/.exec(line)?.[1] ?? ''
        say('250 ok')
      } else if (verb === 'RCPT') {
        mail.to.push(/<(.*?)>/.exec(line)?.[1] ?? '')
        say('250 ok')
      } else if (verb === 'DATA') {
        reading = true
        say('354 go on')
      } else say('500 what')
    }
  }
}
