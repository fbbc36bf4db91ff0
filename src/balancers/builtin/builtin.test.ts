import { balancerContract, freePort } from '../contract-suite.ts'
import { BuiltinBalancer } from './balancer.ts'

const nowhere = `http://127.0.0.1:${await freePort()}`

balancerContract({
  name: 'the built-in balancer',
  skip: false,
  capabilities: { countsInFlight: true, counts: true, drains: true, reloads: false },
  seesServersDown: true,
  splits: false,
  closesIdleConnections: false,
  async start(backends) {
    const balancer = await BuiltinBalancer.start({
      port: 0,
      controlPort: 0,
      servers: backends.map(({ name, port }) => ({ name, port })),
      healthPath: '/healthz',
    })
    return {
      url: balancer.url,
      config: { kind: 'builtin', address: balancer.controlAddress },
      [Symbol.asyncDispose]: () => balancer[Symbol.asyncDispose](),
    }
  },
  mistakes: [
    {
      what: 'an address where nothing listens',
      code: 'balancer.unreachable',
      names: /127\.0\.0\.1.* does not answer/,
      make: () => ({ kind: 'builtin', address: nowhere }),
    },
  ],
})
