import assert from 'node:assert/strict'
import { test } from 'node:test'
import { EscapeKeys } from './escape.ts'

const typed = (...parts: string[]) => {
  const keys = new EscapeKeys()
  let sent = ''
  for (const part of parts) {
    const { send, giveUp } = keys.push(Buffer.from(part))
    sent += send.toString()
    if (giveUp) return `${sent}<gave up>`
  }
  return sent
}

test('tilde and dot give up at the beginning of a line, also key by key', () => {
  assert.equal(typed('~.'), '<gave up>')
  assert.equal(typed('ls\r', '~', '.'), 'ls\r<gave up>')
})

test('anywhere else they are what they are', () => {
  assert.equal(typed('cd ~/.ssh\r'), 'cd ~/.ssh\r')
  assert.equal(typed('\r~~.x'), '\r~.x')
  assert.equal(typed('~', 'a'), '~a')
})
