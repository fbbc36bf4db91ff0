import assert from 'node:assert/strict'
import { once } from 'node:events'
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { test } from 'node:test'
import { readInstanceId } from './instance-id.ts'

async function service(
  answer: (request: IncomingMessage, response: ServerResponse) => void,
): Promise<AsyncDisposable & { environment: NodeJS.ProcessEnv }> {
  const server = createServer(answer).listen(0, '127.0.0.1')
  await once(server, 'listening')
  return {
    environment: { AWS_EC2_METADATA_SERVICE_ENDPOINT: `http://127.0.0.1:${(server.address() as AddressInfo).port}/` },
    [Symbol.asyncDispose]: async () => {
      server.closeAllConnections()
      await new Promise((resolve) => server.close(resolve))
    },
  }
}

test('reads the instance id with a token that it was given', async () => {
  const asked: string[] = []
  await using here = await service((request, response) => {
    asked.push(`${request.method} ${request.url} ${request.headers['x-aws-ec2-metadata-token'] ?? ''}`.trim())
    response.end(request.method === 'PUT' ? 'token1' : 'i-0598c7d356eba48d7\n')
  })
  assert.equal(await readInstanceId(here.environment), 'i-0598c7d356eba48d7')
  assert.deepEqual(asked, ['PUT /latest/api/token', 'GET /latest/meta-data/instance-id token1'])
})

for (const [what, answer] of [
  ['refuses', (_, response) => response.writeHead(403).end()],
  ['answers with something else', (_, response) => response.end('<html>')],
  ['sends elsewhere', (_, response) => response.writeHead(302, { location: 'http://127.0.0.1:1/' }).end()],
  ['never answers', () => {}],
] as [string, (request: IncomingMessage, response: ServerResponse) => void][]) {
  test(`there is no instance id where the service ${what}`, { timeout: 5_000 }, async () => {
    await using here = await service(answer)
    assert.equal(await readInstanceId(here.environment), null)
  })
}

test('there is none where the service is switched off, and nothing is asked', async () => {
  await using here = await service(() => assert.fail('asked'))
  assert.equal(await readInstanceId({ ...here.environment, AWS_EC2_METADATA_DISABLED: 'true' }), null)
})

test('there is none where nothing listens', async () => {
  assert.equal(await readInstanceId({ AWS_EC2_METADATA_SERVICE_ENDPOINT: 'http://127.0.0.1:1' }), null)
})
