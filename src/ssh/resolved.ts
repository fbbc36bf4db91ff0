import { spawn } from 'node:child_process'
import type { Destination } from './destination.ts'
import { LineReader } from './line-reader.ts'

/** So many are asked by one shell, one after the other. */
const together = 4

/** Takes the configuration file, empty for the person's own, then user, port and host of each. Complaints are told where there is nothing else to tell. */
const script = `file=$1
shift
resolve() { ssh \${file:+-F "$file"} -G \${1:+-l "$1"} \${2:+-p "$2"} -- "$3"; }
while [ $# -gt 0 ]; do
  resolve "$1" "$2" "$3" 2>/dev/null
  code=$?
  [ $code = 0 ] || resolve "$1" "$2" "$3" 2>&1
  echo "dploy $code"
  shift 3
done`

interface Asked {
  destination: Destination
  configFile: string | null
  answer: PromiseWithResolvers<{ code: number; text: string }>
}

let waiting: Asked[] = []

/**
 * What `ssh -G` says of a destination, or what it complains of. Those that are asked for at the same time go to few shells: to start a program from
 * here holds everything else up for some 3 ms, which servers that are connected to do not have to wait for.
 */
export function askResolved(
  destination: Destination,
  configFile: string | null,
): Promise<{ code: number; text: string }> {
  const answer = Promise.withResolvers<{ code: number; text: string }>()
  if (waiting.length === 0) queueMicrotask(askAll)
  waiting.push({ destination, configFile, answer })
  return answer.promise
}

function askAll(): void {
  const all = waiting
  waiting = []
  for (const some of Map.groupBy(all, ({ configFile }) => configFile).values()) {
    for (let start = 0; start < some.length; start += together) void ask(some.slice(start, start + together))
  }
}

async function ask(some: readonly Asked[]): Promise<void> {
  const destinations = some.flatMap(({ destination: { user, port, host } }) => [
    user ?? '',
    port === null ? '' : String(port),
    host,
  ])
  const child = spawn('sh', ['-c', script, 'dploy', some[0]!.configFile ?? '', ...destinations], {
    stdio: ['ignore', 'pipe', 'ignore'],
    env: { ...process.env, LC_ALL: 'C' },
  })
  child.on('error', (error) => some.forEach(({ answer }) => answer.reject(error)))
  const lines = new LineReader(child.stdout)
  for (const { answer } of some) {
    const text: string[] = []
    for (;;) {
      const line = await lines.next()
      const end = /^dploy (\d+)$/.exec(line ?? 'dploy 255')
      if (end) {
        answer.resolve({ code: Number(end[1]), text: `${text.join('\n')}\n` })
        break
      }
      text.push(line!)
    }
  }
}
