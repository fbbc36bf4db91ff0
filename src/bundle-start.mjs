// Starts the command line's script, with what V8 made of it in an earlier run: also of functions that are compiled only
// when they are called, which Node's own cache leaves out (it is made before anything is called).
import { readFileSync, renameSync, writeFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { join } from 'node:path'
import { getHeapCodeStatistics } from 'node:v8'
import { constants, Script } from 'node:vm'

const filename = join(import.meta.dirname, `${'NAME'}.cjs`)
// Commands call different functions. Whatever stands there instead of a command is one of few words.
const command = process.argv.slice(2).find((word) => /^[a-z]+$/.test(word)) ?? 'none'
const cache = `${filename.slice(0, -'.cjs'.length)}-${command.slice(0, 20)}.cache`
/** How much code there was when it was made, then the code. */
const header = 8

let kept = null
try {
  const bytes = readFileSync(cache)
  if (bytes.length > header) kept = bytes
} catch {
  // It is made at the end of this run.
}
const script = new Script(readFileSync(filename, 'latin1'), { filename, importModuleDynamically: constants.USE_MAIN_CONTEXT_DEFAULT_LOADER, ...(kept && { cachedData: kept.subarray(header) }) })
const before = kept && !script.cachedDataRejected ? kept.readDoubleBE(0) : 0
process.once('exit', () => {
  const { bytecode_and_metadata_size: size } = getHeapCodeStatistics()
  // A run that went further than those before it knows more.
  if (size < before * 1.1) return
  try {
    const made = Buffer.alloc(header)
    made.writeDoubleBE(size)
    const part = `${cache}.${process.pid}`
    writeFileSync(part, Buffer.concat([made, script.createCachedData()]))
    renameSync(part, cache)
  } catch {
    // A directory that nobody may write: it starts a little slower.
  }
})
const module = { exports: {} }
script.runInThisContext()(module.exports, createRequire(filename), module, filename, import.meta.dirname)
await module.exports.command
