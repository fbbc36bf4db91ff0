// Takes a fleet down when its owner ends without doing so, however it ends: the kernel then closes this program's standard input.
import { sweepRun } from './sweep.ts'

const number = Number(process.argv[2])
if (!Number.isInteger(number)) throw new Error('usage: watchdog.ts NUMBER, with standard input held open by the owner')
process.stdin.resume()
process.stdin.once('close', () => void sweepRun(number))
