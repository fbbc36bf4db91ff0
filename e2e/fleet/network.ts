import { networkInterfaces } from 'node:os'
import { existsSync, readFileSync } from 'node:fs'
import { mustRun, runCommand } from './command.ts'
import { bridgeOf, machineOf, type Run, type RunServer } from './run.ts'

/** Where fleets may have their addresses: two corners of the private ranges, then the range reserved for benchmarks (RFC 2544). */
const ranges = ['10.231', '172.29', '198.18']

/** The network of a run as its first three numbers, from a range that no interface and no route of this machine uses. */
export async function networkChooser(): Promise<(number: number) => string | undefined> {
  const routes = await mustRun('ip', ['-4', 'route', 'show', 'table', 'all'])
  const used = routes.match(/\b\d+\.\d+\.\d+\.\d+(?:\/\d+)?/g) ?? []
  const addresses = Object.values(networkInterfaces())
    .flatMap((list) => list ?? [])
    .filter((one) => one.family === 'IPv4')
  const taken = [...used, ...addresses.map((one) => one.cidr ?? one.address)]
    .map(parseRange)
    .filter((range) => range[1] > 0)
  return (number) =>
    ranges
      .map((range) => `${range}.${number}`)
      .find((network) => !taken.some((range) => overlaps(range, parseRange(`${network}.0/24`))))
}

/** Whether this address belongs to a fleet of this machine, by the range it would have and the bridge that has it. */
export function isFleetAddress(address: string): boolean {
  const [a, b, c] = address.split('.')
  if (!ranges.includes(`${a}.${b}`)) return false
  return networkInterfaces()[`dpf${c}`]?.some((one) => one.address === `${a}.${b}.${c}.1`) ?? false
}

/** The host's end: a bridge with the address that servers know as `control`. Not a way out: servers get no default route. */
export async function makeBridge(run: Run): Promise<void> {
  await batch([
    `link add ${bridgeOf(run)} type bridge forward_delay 0`,
    `addr add ${run.network}.1/24 dev ${bridgeOf(run)}`,
    `link set ${bridgeOf(run)} up`,
  ])
}

/** The server's network: a namespace with one interface, whose other end is a port of the bridge. It stays while the server is off. */
export async function makeServerNetwork(run: Run, server: RunServer): Promise<void> {
  const namespace = machineOf(run, server.name)
  const port = portOf(run, server)
  await batch([
    `netns add ${namespace}`,
    `link add ${port} type veth peer name eth0 netns ${namespace}`,
    `link set ${port} master ${bridgeOf(run)} up`,
  ])
  await batch([`addr add ${server.address}/24 dev eth0`, 'link set lo up', 'link set eth0 up'], namespace)
}

/** Takes the server's cable out of the switch: nothing arrives any more, and neither end is told. */
export async function unplug(run: Run, server: RunServer): Promise<void> {
  await mustRun('ip', ['link', 'set', portOf(run, server), 'nomaster'])
}

export async function plug(run: Run, server: RunServer): Promise<void> {
  await mustRun('ip', ['link', 'set', portOf(run, server), 'master', bridgeOf(run)])
}

/** Names of the interfaces in the network namespace of this process. That of /sys is the one in which it was mounted. */
export function interfaces(): string[] {
  return [...readFileSync('/proc/self/net/dev', 'utf8').matchAll(/^ *([^\s:]+):/gm)].map(([, name]) => name!)
}

/** Removes what there is of a run's network. What is not there is no error. */
export async function removeNetwork(run: Run): Promise<void> {
  for (const server of run.servers) {
    const namespace = machineOf(run, server.name)
    // With the namespace both ends of the cable go, unless a process still lives in it.
    if (interfaces().includes(portOf(run, server))) await runCommand('ip', ['link', 'del', portOf(run, server)])
    if (existsSync(`/run/netns/${namespace}`)) await mustRun('ip', ['netns', 'del', namespace])
  }
  if (interfaces().includes(bridgeOf(run))) await mustRun('ip', ['link', 'del', bridgeOf(run)])
}

/** The processes in a server's network namespace: all of the server's, and those that were sent into it. */
export async function processesIn(run: Run, server: RunServer): Promise<number[]> {
  const { stdout } = await runCommand('ip', ['netns', 'pids', machineOf(run, server.name)])
  return stdout.split('\n').filter(Boolean).map(Number)
}

function portOf(run: Run, server: RunServer): string {
  return `dpf${run.number}.${server.address.split('.')[3]}`
}

async function batch(lines: string[], namespace?: string): Promise<void> {
  await mustRun('ip', [...(namespace === undefined ? [] : ['-n', namespace]), '-batch', '-'], {
    stdin: `${lines.join('\n')}\n`,
  })
}

type Range = [start: number, bits: number]

function parseRange(text: string): Range {
  const [address, bits] = text.split('/')
  return [
    address!.split('.').reduce((sum, part) => sum * 256 + Number(part), 0),
    bits === undefined ? 32 : Number(bits),
  ]
}

function overlaps(a: Range, b: Range): boolean {
  const size = 2 ** (32 - Math.min(a[1], b[1]))
  return Math.floor(a[0] / size) === Math.floor(b[0] / size)
}
