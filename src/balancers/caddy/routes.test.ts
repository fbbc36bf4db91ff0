import assert from 'node:assert/strict'
import { test } from 'node:test'
import { findHandler, moved, parkedDials, proxyHandlers, type Json } from './routes.ts'

const servers: Json = {
  srv0: {
    listen: [':443'],
    routes: [
      {
        match: [{ host: ['shop.example.com'] }],
        handle: [
          {
            handler: 'subroute',
            routes: [
              {
                handle: [
                  {
                    '@id': 'shop',
                    handler: 'reverse_proxy',
                    upstreams: [{ dial: 'a:1', max_requests: 9 }, { dial: 'b:1' }, { dial: 'c:1' }],
                  },
                ],
              },
            ],
          },
        ],
      },
      { handle: [{ handler: 'reverse_proxy', upstreams: [{ dial: 'a:2' }] }] },
    ],
  },
}
const path = '/config/apps/http/servers/srv0/routes/1/handle/0'

test('handlers are found by their id, and by their path', () => {
  assert.deepEqual(proxyHandlers(servers), [
    {
      id: 'shop',
      path: '/config/apps/http/servers/srv0/routes/0/handle/0/routes/0/handle/0',
      dials: ['a:1', 'b:1', 'c:1'],
    },
    { id: null, path, dials: ['a:2'] },
  ])
  assert.equal(findHandler(servers, 'shop')?.id, 'shop')
  assert.deepEqual(findHandler(servers, path)?.dials, ['a:2'])
  assert.equal(findHandler(servers, 'web'), null)
})

test('what is taken out comes back to its place with all that is written about it, in whatever order', () => {
  const some = moved(
    servers,
    'shop',
    new Map([
      ['b:1', true],
      ['a:1', true],
    ]),
  )
  assert.deepEqual(moved(some, 'shop', new Map([['a:1', true]])), some)
  const out = moved(some, path, new Map([['a:2', true]]))
  assert.deepEqual(findHandler(out, 'shop')?.dials, ['c:1'])
  assert.deepEqual(findHandler(out, path)?.dials, [])
  assert.deepEqual(parkedDials(out, 'shop'), ['a:1', 'b:1'])
  assert.deepEqual(parkedDials(out, path), ['a:2'])
  assert.equal(proxyHandlers(out).length, 2)

  const back = moved(out, 'shop', new Map([['b:1', false]]))
  assert.deepEqual(findHandler(back, 'shop')?.dials, ['b:1', 'c:1'])
  assert.deepEqual(moved(moved(back, 'shop', new Map([['a:1', false]])), path, new Map([['a:2', false]])), servers)
})
