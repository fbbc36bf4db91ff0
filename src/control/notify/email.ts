import { createTransport } from 'nodemailer'
import { details, headline } from './notification.ts'
import { Undelivered, type Sender } from './sender.ts'

/** How long each part of the conversation may take. Milliseconds. */
const timeout = 10_000

/** A mail of plain text. Sent again it has the same Message-ID, so that mail programs show it once. */
export const sendMail: Sender<'email'> = async ({ id, told, entry, secret }) => {
  if (entry.user !== undefined && secret === null) throw new Undelivered('its secret is not set')
  const [, host, port] = /^(.*):(\d+)$/.exec(entry.server) ?? []
  const transport = createTransport({
    host: host!.replace(/^\[|\]$/g, ''),
    port: Number(port),
    secure: entry.tls === 'implicit',
    requireTLS: entry.tls === 'starttls',
    ignoreTLS: entry.tls === 'none',
    connectionTimeout: timeout,
    greetingTimeout: timeout,
    socketTimeout: timeout,
    dnsTimeout: timeout,
    ...(entry.user === undefined ? {} : { auth: { user: entry.user, pass: secret! } }),
  })
  try {
    await transport.sendMail({
      from: entry.from,
      to: entry.to,
      subject: headline(told),
      text: `${[headline(told), ...details(told)].join('\n')}\n`,
      messageId: `<${id}@${entry.from.split('@').at(-1)}>`,
      date: new Date(told.at),
      headers: { 'Auto-Submitted': 'auto-generated' },
      disableFileAccess: true,
      disableUrlAccess: true,
    })
  } catch (error) {
    throw new Undelivered(`${entry.server}: ${reasonOf(error)}`)
  } finally {
    transport.close()
  }
}

/** The server's code and what was being done; its own words may hold what was sent to it. */
function reasonOf(error: unknown): string {
  const { code, command, responseCode } = error as { code?: string; command?: string; responseCode?: number }
  if (code === 'EAUTH')
    return `the server does not take user and password${responseCode === undefined ? '' : ` (${responseCode})`}`
  if (responseCode !== undefined)
    return `the server answered ${responseCode}${command === undefined ? '' : ` to ${command}`}`
  if (code === 'ETLS') return 'no TLS could be agreed on'
  return error instanceof Error ? `${code ?? ''} ${error.message.slice(0, 200)}`.trim() : 'it cannot be reached'
}
