import { Agent, request } from 'node:http'
import { parentPort, workerData } from 'node:worker_threads'
import type { Answer, UsersOptions } from './users.ts'

/** Asks at a fixed rate, whatever the answers do, and keeps what came of each request. */
const { url, rate, seconds, idempotent } = workerData as Required<UsersOptions>
const kept = new Agent({ keepAlive: true, maxSockets: 64 })
const answers: Answer[] = []
const open = new Set<Promise<void>>()
const began = performance.now()
let sent = 0
let stopped = false

function ask(index: number): Promise<void> {
  const at = performance.now() - began
  const post = index % 5 === 4
  return new Promise((resolve) => {
    const end = (status: number | null, text: string) => {
      answers.push({ at, ms: performance.now() - began - at, status, text, post })
      resolve()
    }
    const headers = post && idempotent ? { 'idempotency-key': `key-${index}` } : {}
    const asked = request(
      url,
      { method: post ? 'POST' : 'GET', headers, agent: index % 2 === 0 ? kept : false, timeout: 10_000 },
      (response) => {
        let text = ''
        response.on('data', (chunk: Buffer) => (text += chunk.toString()))
        response.on('end', () => end(response.statusCode ?? null, text))
        response.on('error', (error) => end(null, error.message))
      },
    )
    asked.on('timeout', () => asked.destroy(new Error('no answer within 10 s')))
    asked.on('error', (error) => end(null, error.message))
    asked.end(post ? `echo ${index}` : undefined)
  })
}

const timer = setInterval(() => {
  const due = Math.floor(((performance.now() - began) / 1000) * rate)
  while (sent < due) {
    const asked = ask(sent++).finally(() => open.delete(asked))
    open.add(asked)
  }
  if (stopped || performance.now() - began > seconds * 1000) void finish()
}, 5)

async function finish(): Promise<void> {
  clearInterval(timer)
  await Promise.allSettled(open)
  kept.destroy()
  parentPort!.postMessage(answers)
  parentPort!.close()
}
parentPort!.on('message', () => (stopped = true))
