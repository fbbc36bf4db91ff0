// Sends requests at a fixed rate from a process of its own. Started by traffic.ts, which it talks to over Node's IPC channel; ends with it.
import { Agent, request, type ClientRequest, type IncomingMessage } from 'node:http'
import { setPriority } from 'node:os'
import { summarize, type TrafficRecord } from './summary.ts'
import type { GeneratorOptions, GeneratorQuestion } from './traffic.ts'

const options = JSON.parse(process.argv[2] ?? '') as GeneratorOptions
try {
  // What is measured must not be the builds that run beside.
  setPriority(-10)
} catch {
  // Only root may.
}

/** More open requests than this, and what is asked is not answering at all. */
const maximumOpen = 2000
/** Longer than this between two ticks, in milliseconds, and the generator did not get the processor. */
const gapThreshold = 20

const records: TrafficRecord[] = []
const gaps: { from: number; to: number }[] = []
// Idle connections end here before they end there: a request must not meet a closing connection.
const kept = new Agent({ keepAlive: true, maxFreeSockets: 8, scheduling: 'lifo', timeout: 4000 })
const fresh = new Agent({ keepAlive: false })
const begun = performance.now()
let due = 0
let open = 0
let notSent = 0
let ended = 0
let lastTick = begun

const timer = setInterval(tick, 2)
process.on('message', (question: GeneratorQuestion) => void answer(question))
process.on('disconnect', () => process.exit())
process.send?.({ kind: 'started' })

function tick(): void {
  const now = performance.now()
  if (now - lastTick > gapThreshold) gaps.push({ from: lastTick, to: now })
  lastTick = now
  if (now - begun > options.duration) return end()
  // Open loop: what is due is sent, whether or not earlier requests were answered.
  while (due < ((now - begun) / 1000) * options.rate) ask(due++)
}

function ask(index: number): void {
  // Even shares without chance, so that two runs are the same.
  const slow = crossesShare(index, options.slow)
  const method = !slow && crossesShare(index, options.posts) ? 'POST' : 'GET'
  const agent = isKept(index) ? kept : fresh
  const started = performance.now()
  const record: TrafficRecord = {
    at: started - begun,
    method,
    ms: 0,
    status: undefined,
    cause: undefined,
    reused: false,
    again: false,
    release: undefined,
    server: undefined,
  }
  if (open >= maximumOpen) {
    notSent += 1
    records.push({ ...record, cause: `not sent: ${maximumOpen} requests are open` })
    return
  }
  open += 1
  let settled = false
  const settle = (cause?: string): void => {
    if (settled) return
    settled = true
    open -= 1
    clearTimeout(timeout)
    const now = performance.now()
    record.ms = Math.max(0, now - started - blindBetween(started, now) - (slow ? options.slowMs : 0))
    record.cause = cause
    records.push(record)
  }
  const body = method === 'POST' ? Buffer.alloc(options.postBytes, `${index} `) : undefined
  let asked = send(agent)
  const timeout = setTimeout(() => {
    settle(`no answer within ${options.timeout} ms`)
    asked.destroy()
  }, options.timeout)

  function send(through: Agent): ClientRequest {
    const sent = request(slow ? new URL(options.slowPath, options.url) : options.url, {
      method,
      agent: through,
      headers: body ? { 'content-type': 'text/plain', 'content-length': body.length } : {},
    })
    let answered = false
    sent.on('error', (error) => {
      if (options.again && sent.reusedSocket && !answered && !settled && !record.again) {
        record.again = true
        asked = send(fresh)
      } else settle(`${(error as NodeJS.ErrnoException).code ?? error.name}: ${error.message}`)
    })
    sent.on('response', (response) => {
      answered = true
      read(response, record, body, settle)
    })
    sent.on('socket', () => {
      record.reused = sent.reusedSocket
    })
    sent.end(body)
    return sent
  }
}

function read(
  response: IncomingMessage,
  record: TrafficRecord,
  sent: Buffer | undefined,
  settle: (cause?: string) => void,
): void {
  const chunks: Buffer[] = []
  const header = (name: string): string | undefined => response.headers[name]?.toString()
  record.status = response.statusCode
  record.release = header(options.releaseHeader)
  record.server = header(options.serverHeader)
  response.on('data', (chunk: Buffer) => chunks.push(chunk))
  response.on('error', (error) => settle(`the answer broke off: ${error.message}`))
  response.on('close', () => settle('the answer broke off'))
  response.on('end', () => {
    if (!response.complete) return settle('the answer broke off')
    if ((record.status ?? 0) >= 400) return settle(`status ${record.status}`)
    if (sent && options.echo && !Buffer.concat(chunks).equals(sent)) return settle('the answer is not what was posted')
    settle()
  })
}

/** An even share too, which falls in with no other: slow and fast, GET and POST come over both kinds of connections (multiples of the golden ratio, Weyl). */
function isKept(index: number): boolean {
  return (index * 0.6180339887498949) % 1 < options.keepAlive
}

function crossesShare(index: number, share: number): boolean {
  return Math.floor((index + 1) * share) > Math.floor(index * share)
}

/** Milliseconds between two moments in which the generator stood still. */
function blindBetween(from: number, to: number): number {
  let sum = 0
  const gapNow = to - lastTick > gapThreshold ? [{ from: lastTick, to }] : []
  for (const gap of [...gaps.slice(-50), ...gapNow]) sum += Math.max(0, Math.min(gap.to, to) - Math.max(gap.from, from))
  return sum
}

function end(): void {
  clearInterval(timer)
  ended ||= performance.now()
}

async function answer(question: GeneratorQuestion): Promise<void> {
  if (question.kind === 'stop') {
    end()
    // Those under way were sent: what becomes of them counts.
    while (open > 0) await new Promise((resolve) => setTimeout(resolve, 5))
  }
  const seconds = ((ended || performance.now()) - begun) / 1000
  const blind = gaps.reduce((sum, gap) => sum + gap.to - gap.from, 0)
  const summary = summarize(records, seconds, blind, notSent)
  process.send?.({ kind: 'summary', id: question.id, summary, records: question.records ? records : [] }, () => {
    if (question.kind === 'stop') process.exit()
  })
}
