export interface ServerSentEvent {
  name: string
  data: string
  id: string | undefined
}

/** Reads server-sent events from a response body, as the HTML standard describes their format (9.2.6). */
export async function* serverSentEvents(body: ReadableStream<Uint8Array>): AsyncGenerator<ServerSentEvent> {
  let rest = ''
  let event: ServerSentEvent = { name: 'message', data: '', id: undefined }
  const decoder = new TextDecoder()
  for await (const chunk of chunksOf(body)) {
    const lines = (rest + decoder.decode(chunk, { stream: true })).split(/\r\n|\n|\r/)
    rest = lines.pop()!
    for (const line of lines) {
      if (line === '') {
        if (event.data !== '') yield event
        event = { name: 'message', data: '', id: undefined }
        continue
      }
      const colon = line.indexOf(':')
      const field = colon < 0 ? line : line.slice(0, colon)
      const value = colon < 0 ? '' : line.slice(colon + 1).replace(/^ /, '')
      if (field === 'data') event.data += event.data === '' ? value : `\n${value}`
      else if (field === 'event') event.name = value
      else if (field === 'id') event.id = value
    }
  }
}

/** Not every browser's ReadableStream can be iterated. */
async function* chunksOf(body: ReadableStream<Uint8Array>): AsyncGenerator<Uint8Array> {
  const reader = body.getReader()
  try {
    for (let next = await reader.read(); !next.done; next = await reader.read()) yield next.value
  } finally {
    await reader.cancel().catch(() => {})
  }
}
