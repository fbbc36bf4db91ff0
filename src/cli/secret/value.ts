import { createInterface } from 'node:readline'
import { text } from 'node:stream/consumers'
import { Writable } from 'node:stream'
import { DployError } from '../../protocol/errors.ts'

/**
 * A value that no argument and no screen shows: typed where there is a terminal, else all of standard input without the
 * newline at its end. Throws `request.invalid` for an empty one, `deployment.cancelled` at Ctrl-C.
 */
export async function readValue(prompt: string): Promise<string> {
  const value = process.stdin.isTTY ? await typed(prompt) : (await text(process.stdin)).replace(/\r?\n$/, '')
  if (value === '')
    throw new DployError('request.invalid', 'The value is empty', {
      fix: 'Pipe it in: dploy secret set production NAME < FILE',
    })
  return value
}

function typed(prompt: string): Promise<string> {
  const silent = new Writable({ write: (_chunk, _encoding, done) => done() })
  const line = createInterface({ input: process.stdin, output: silent, terminal: true })
  process.stderr.write(prompt)
  return new Promise<string>((resolve, reject) => {
    line.once('SIGINT', () => reject(new DployError('request.invalid', 'Nothing was set')))
    line.once('close', () => reject(new DployError('request.invalid', 'Nothing was set')))
    line.question('', resolve)
  }).finally(() => {
    line.close()
    process.stderr.write('\n')
  })
}
