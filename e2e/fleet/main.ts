// bin/fleet: a fleet for people. It stays after `up` ends, until `down`.
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { Fleet, unavailable } from './fleet.ts'
import { isAbandoned, listRuns } from './run.ts'
import { sweepAbandoned, sweepRun } from './sweep.ts'

const usage = `Real servers on this machine, for trying things out: each with its own file system, systemd, sshd and address.

  bin/fleet up [N]                      boot N servers (2), named web1, web2 …; they stay until down
  bin/fleet list                        fleets, their servers and addresses
  bin/fleet exec SERVER -- CMD [ARG…]   run a program on a server
  bin/fleet shell SERVER                a shell on a server
  bin/fleet boot|poweroff|kill SERVER   switch it on, shut it down, cut its power
  bin/fleet cut|restore SERVER          unplug its network, plug it in again
  bin/fleet down [FLEET]                take down this fleet, or all that \`up\` made and what dead processes left

  up takes --bind INSIDE=OUTSIDE        a path of this machine, read-only on each server (repeatable)
  SERVER may be FLEET/SERVER, like 2/web1, where there is more than one fleet.`

const [verb, ...rest] = process.argv.slice(2)
try {
  process.exitCode = await run(verb, rest)
} catch (error) {
  console.error(`fleet: ${(error as Error).message}`)
  process.exitCode = 1
}

async function run(verb: string | undefined, args: string[]): Promise<number> {
  switch (verb) {
    case 'up':
      return await up(args)
    case 'list':
      return list()
    case 'down':
      return await down(args[0])
    case 'exec': {
      const [name, dashes, file, ...words] = args
      if (!name || dashes !== '--' || !file) throw new Error('usage: bin/fleet exec SERVER -- CMD [ARG…]')
      return await enter(name, file, words)
    }
    case 'shell':
      return await enter(args[0], 'bash', ['--login'])
    case 'boot':
      return await on(args[0], (server) => server.boot())
    case 'poweroff':
      return await on(args[0], (server) => server.poweroff())
    case 'kill':
      return await on(args[0], (server) => server.kill())
    case 'cut':
      return await on(args[0], (server) => server.cutNetwork())
    case 'restore':
      return await on(args[0], (server) => server.restoreNetwork())
    case undefined:
    case 'help':
    case '--help':
    case '-h':
      console.log(usage)
      return 0
    default:
      throw new Error(`there is no command ${verb}\n\n${usage}`)
  }
}

async function up(args: string[]): Promise<number> {
  const reason = unavailable()
  if (reason) throw new Error(reason)
  const bind: Record<string, string> = {}
  let servers = 2
  for (let index = 0; index < args.length; index += 1) {
    const word = args[index]!
    if (word === '--bind') {
      const [inside, outside] = (args[++index] ?? '').split('=')
      if (!inside?.startsWith('/') || !outside?.startsWith('/'))
        throw new Error('usage: --bind /path/on/server=/path/here')
      bind[inside] = outside
    } else if (/^[1-9]\d*$/.test(word)) servers = Number(word)
    else throw new Error(`not a number of servers: ${word}`)
  }
  const fleet = await Fleet.up({ servers, bind, name: 'by hand', stays: true, log: console.error })
  console.log(`fleet ${fleet.number}: ssh -F ${fleet.sshConfig} web1; this machine is ${fleet.hostAddress} there`)
  return 0
}

function list(): number {
  const runs = listRuns()
  if (runs.length === 0) console.log('no fleet')
  for (const run of runs) {
    const whose = run.owner ? `process ${run.owner.pid}${isAbandoned(run) ? ', which is dead' : ''}` : 'stays'
    console.log(`fleet ${run.number}: ${run.name} (${whose})`)
    const fleet = Fleet.attach(run.number)
    for (const server of fleet.servers)
      console.log(`  ${server.name.padEnd(6)} ${server.address.padEnd(15)} ${server.isOn ? 'on' : 'off'}`)
  }
  return 0
}

async function down(number: string | undefined): Promise<number> {
  if (number !== undefined && !listRuns().some((run) => String(run.number) === number))
    throw new Error(`there is no fleet ${number}`)
  const numbers =
    number === undefined
      ? listRuns()
          .filter((run) => !run.owner)
          .map((run) => run.number)
      : [Number(number)]
  for (const one of numbers) await sweepRun(one)
  const abandoned = await sweepAbandoned()
  console.log(
    `took down ${[...numbers, ...abandoned.map((run) => run.number)].join(', ') || 'nothing: there is no fleet'}`,
  )
  return 0
}

function find(name: string | undefined) {
  const [server, fleet] = (name ?? '').split('/').reverse()
  if (!server) throw new Error('which server? Run: bin/fleet list')
  const runs = listRuns().filter((run) =>
    fleet === undefined ? run.servers.some((one) => one.name === server) : String(run.number) === fleet,
  )
  if (runs.length === 0) throw new Error(`there is no server ${name}. Run: bin/fleet list`)
  if (runs.length > 1)
    throw new Error(
      `${name} is in fleets ${runs.map((run) => run.number).join(', ')}: write ${runs[0]!.number}/${server}`,
    )
  return Fleet.attach(runs[0]!.number).server(server)
}

async function on(name: string | undefined, act: (server: ReturnType<typeof find>) => Promise<void>): Promise<number> {
  await act(find(name))
  return 0
}

async function enter(name: string | undefined, file: string, words: string[]): Promise<number> {
  const command = find(name).entering(file, words)
  const child = spawn(command.file, command.args, {
    stdio: 'inherit',
    env: { ...command.env, TERM: process.env['TERM'] ?? 'dumb' },
  })
  // Ctrl-C is for the program on the server.
  process.on('SIGINT', () => {})
  const [code] = (await once(child, 'close')) as [number | null]
  return code ?? 1
}
