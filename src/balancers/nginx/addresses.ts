import { lookup } from 'node:dns/promises'
import { DployError } from '../../protocol/errors.ts'
import { splitAddress } from '../answers.ts'
import { canonicalIp } from './processes.ts'
import type { UpstreamEntry } from './upstream-file.ts'

/** `IP:PORT` of everything that the entries name. Throws `balancer.refused` for what has no TCP address. */
export async function socketAddresses(entries: readonly UpstreamEntry[]): Promise<string[]> {
  const addresses = await Promise.all(
    entries.map(async ({ address }) => {
      if (address.startsWith('unix:'))
        throw new DployError(
          'balancer.refused',
          `The upstream names the server ${address}: what is in flight on a unix socket cannot be told`,
          { where: address, fix: 'Let the service listen on a port' },
        )
      const { host, port } = splitAddress(address)
      try {
        return (await lookup(host, { all: true })).map((found) => `${canonicalIp(found.address)}:${port}`)
      } catch (cause) {
        throw new DployError('balancer.refused', `The host ${host} of the upstream has no address`, {
          where: address,
          fix: 'Write its IP address into the upstream file',
          cause,
        })
      }
    }),
  )
  return addresses.flat()
}
