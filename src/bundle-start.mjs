// Starts the command line's script, with what V8 made of it in an earlier run: also of functions that are compiled only
// when they are called, which Node's own cache leaves out (it is made before anything is called).
import { readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { join } from 'node:path'
import { getHeapCodeStatistics } from 'node:v8'
import { constants, Script } from 'node:vm'
import { crc32 } from 'node:zlib'

const filename = join(import.meta.dirname, `${'NAME'}.cjs`)
// Commands call different functions. Whatever stands there instead of a command is one of few words.
const command = process.argv.slice(2).find((word) => /^[a-z]+$/.test(word)) ?? 'none'
const cache = `${filename.slice(0, -'.cjs'.length)}-${command.slice(0, 20)}.cache`
/** How much code there was when it was made, and a checksum, before what V8 made: it takes what it is given. */
const header = 12

let kept = null
try {
  const bytes = readFileSync(cache)
  if (bytes.length > header && bytes.readUInt32BE(8) === crc32(bytes.subarray(header))) kept = bytes
} catch {
  // It is made at the end of this run.
}
const script = new Script(readFileSync(filename, 'latin1'), {
  filename,
  importModuleDynamically: constants.USE_MAIN_CONTEXT_DEFAULT_LOADER,
  ...(kept && { cachedData: kept.subarray(header) }),
})
const before = kept && !script.cachedDataRejected ? kept.readDoubleBE(0) : 0
process.once('exit', () => {
  const { bytecode_and_metadata_size: size } = getHeapCodeStatistics()
  // A run that went further than those before it knows more; one that failed did not go far.
  if (size < before * 1.1 || process.exitCode) return
  const part = `${cache}.${process.pid}`
  try {
    const made = Buffer.alloc(header)
    const data = script.createCachedData()
    made.writeDoubleBE(size)
    made.writeUInt32BE(crc32(data), 8)
    writeFileSync(part, Buffer.concat([made, data]))
    renameSync(part, cache)
  } catch {
    // A directory that nobody may write, or a full disk: it starts a little slower.
    rmSync(part, { force: true })
  }
})
const module = { exports: {} }
script.runInThisContext()(module.exports, createRequire(filename), module, filename, import.meta.dirname)
await module.exports.command
