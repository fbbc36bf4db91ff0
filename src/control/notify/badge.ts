import type { DeploymentState } from '../../protocol/deployment.ts'

/** What a badge shows of an environment. */
export interface BadgeState {
  environment: string
  /** Number of the release that it is meant to run; null: none yet. */
  release: number | null
  /** The newest deployment; null: none yet. */
  last: DeploymentState | null
}

/** Ground colours on which white text has a contrast of 4.5 or more (WCAG 2.2, 1.4.3). */
const colours = { good: '#1f7a3d', bad: '#b3261e', busy: '#1f5fbf', none: '#5c6370' } as const

/** Width of a character of Verdana at 11 px, on average. Pixels. */
const characterWidth = 6.8

/** A small picture (SVG): the environment at the left, what it runs at the right. */
export function badgeSvg(state: BadgeState): string {
  const left = short(state.environment)
  const { text: right, colour } = wordsOf(state)
  const [one, two] = [widthOf(left), widthOf(right)]
  const title = escaped(`${state.environment}: ${right}`)
  const label = (text: string, x: number) => `<text x="${x}" y="14">${escaped(text)}</text>`
  return `<svg xmlns="http://www.w3.org/2000/svg" width="${one + two}" height="20" role="img" aria-label="${title}"><title>${title}</title><clipPath id="r"><rect width="${one + two}" height="20" rx="3"/></clipPath><g clip-path="url(#r)"><rect width="${one}" height="20" fill="#3b3f46"/><rect x="${one}" width="${two}" height="20" fill="${colours[colour]}"/></g><g fill="#fff" text-anchor="middle" font-family="Verdana,DejaVu Sans,sans-serif" font-size="11">${label(left, one / 2)}${label(right, one + two / 2)}</g></svg>`
}

function wordsOf({ release, last }: BadgeState): { text: string; colour: keyof typeof colours } {
  const runs = release === null ? 'nothing deployed' : `release ${release}`
  switch (last) {
    case null:
      return { text: runs, colour: 'none' }
    case 'succeeded':
      return { text: runs, colour: 'good' }
    case 'failed':
      return { text: `${runs}, failed`, colour: 'bad' }
    case 'rolled_back':
      return { text: `${runs}, rolled back`, colour: 'bad' }
    case 'cancelled':
      return { text: runs, colour: release === null ? 'none' : 'good' }
    default:
      return { text: `${runs}, deploying`, colour: 'busy' }
  }
}

function widthOf(text: string): number {
  return Math.round(text.length * characterWidth) + 12
}

function short(text: string): string {
  return text.length > 40 ? `${text.slice(0, 39)}…` : text
}

/** For text and attributes of XML; what XML cannot hold is left out. */
function escaped(text: string): string {
  // eslint-disable-next-line no-control-regex
  return text
    .replaceAll(/[\u0000-\u0008\u000b\u000c\u000e-\u001f\ufffe\uffff]/g, '')
    .replaceAll('&', '&amp;')
    .replaceAll('<', '&lt;')
    .replaceAll('>', '&gt;')
    .replaceAll('"', '&quot;')
    .replaceAll("'", '&#39;')
}
