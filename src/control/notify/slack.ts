import { details, headline, type Notification } from './notification.ts'
import { Undelivered, type Sender } from './sender.ts'

const marks: Record<Notification['moment'], string> = {
  started: '🚀',
  succeeded: '✅',
  failed: '❌',
  rolled_back: '↩️',
  cancelled: '⏹️',
  waiting_for_approval: '✋',
  server_gone: '🔌',
  test: '👋',
}

/** Longest text of a section (docs.slack.dev, block-kit, section). Characters. */
const longest = 3_000

/** An incoming webhook of Slack: `text` for notifications and what knows no blocks, and blocks. */
export const sendToSlack: Sender<'slack'> = async ({ told, secret }) => {
  if (secret === null) throw new Undelivered('its secret is not set')
  const { post } = await import('./post.ts')
  await post(secret, {}, JSON.stringify(slackMessage(told)))
}

export function slackMessage(told: Notification) {
  const line = `${marks[told.moment]} ${headline(told)}`
  const rest = details(told)
  return {
    text: escaped(line),
    blocks: [
      { type: 'section', text: { type: 'mrkdwn', text: cut(`*${escaped(line)}*`) } },
      ...(rest.length === 0
        ? []
        : [{ type: 'section', text: { type: 'mrkdwn', text: cut(rest.map(escaped).join('\n')) } }]),
    ],
  }
}

/** What Slack takes for mark-up: docs.slack.dev, "Escaping text". Otherwise a commit's subject could call everybody (`<!channel>`). */
function escaped(text: string): string {
  return text
    .replaceAll('&', '&amp;')
    .replaceAll('<', '&lt;')
    .replaceAll('>', '&gt;')
    .replaceAll(/[*_~`]/g, (mark) => `\u200b${mark}`)
}

function cut(text: string): string {
  return text.length > longest ? `${text.slice(0, longest - 1)}…` : text
}
