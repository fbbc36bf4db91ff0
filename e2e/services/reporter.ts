import type { TestEvent } from 'node:test/reporters'

/** What came of each test on a server, a JSON object a line, for the test that started them there. */
export interface Told {
  name: string
  passed: boolean
  skipped: string | null
  error: string | null
}

export default async function* tell(events: AsyncIterable<TestEvent>): AsyncGenerator<string> {
  for await (const event of events) {
    if ((event.type !== 'test:pass' && event.type !== 'test:fail') || event.data.details.type === 'suite') continue
    const { skip } = event.data
    const error = event.type === 'test:fail' ? (event.data.details.error.cause ?? event.data.details.error) : null
    const told: Told = {
      name: event.data.name,
      passed: event.type === 'test:pass',
      skipped: skip === undefined || skip === false ? null : String(skip),
      error: error === null ? null : error instanceof Error ? (error.stack ?? error.message) : String(error),
    }
    yield `${JSON.stringify(told)}\n`
  }
}
