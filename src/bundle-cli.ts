import { createHash } from 'node:crypto'
import { readFile, rename, rm, writeFile } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { fileURLToPath, pathToFileURL } from 'node:url'
import { build, transform, type BuildOptions, type Plugin } from 'esbuild'
import { builtinsWhenUsed } from './bundle-builtins.ts'

const entry = fileURLToPath(new URL('./cli/main.ts', import.meta.url))
/** What runs in threads of its own: found beside what starts it, as in the sources. */
const workers = ['control/receipt/prober-worker.ts', 'control/artifacts/scan-worker.ts'].map((path) =>
  fileURLToPath(new URL(path, import.meta.url)),
)

const addresses: Plugin = {
  name: 'addresses of the sources',
  setup({ onLoad }) {
    onLoad({ filter: /\/src\/.*\.ts$/ }, async ({ path }) => {
      const text = await readFile(path, 'utf8')
      if (!/import\.meta\.(main|dirname|url)/.test(text)) return null
      // As an expression only: in a text, such as the demo's own application, it stays as it is.
      const define = {
        'import.meta.main': String(path === entry),
        'import.meta.dirname': JSON.stringify(dirname(path)),
        'import.meta.url': JSON.stringify(pathToFileURL(path).href),
      }
      const { code } = await transform(text, { loader: 'ts', format: 'esm', target: 'node24', define })
      return { loader: 'js', contents: code }
    })
  },
}

const common = {
  bundle: true,
  platform: 'node',
  target: 'node24',
  // Loaded by few commands, large, or not there at all.
  external: ['@aws-sdk/*', 'esbuild', 'bufferutil', 'utf-8-validate'],
  logLevel: 'error',
  plugins: [builtinsWhenUsed, addresses],
} satisfies BuildOptions

/**
 * Makes `dist/cli/main.mjs` and what it starts: all that `src/cli/main.ts` loads as one script, in place of two thousand
 * files. It only starts faster (decisions/023); files that are found by `import.meta.url` are those of the sources, as when these run themselves.
 */
export async function bundleCli(directory: string): Promise<{ path: string }> {
  // Made beside and renamed: another command may start from it, or make it, at the same time.
  const part = `${directory}.part.${process.pid}`
  try {
    await makeFiles(part)
  } catch (error) {
    await rm(part, { recursive: true, force: true })
    throw error
  }
  const old = `${directory}.old.${process.pid}`
  await rename(directory, old).catch(() => {})
  // Another process may have been first: then its files are as good.
  await rename(part, directory).catch(() => rm(part, { recursive: true, force: true }))
  await rm(old, { recursive: true, force: true }).catch(() => {})
  return { path: join(directory, 'main.mjs') }
}

async function makeFiles(part: string): Promise<void> {
  const [script] = await Promise.all([
    build({
      ...common,
      entryPoints: [entry],
      format: 'cjs',
      charset: 'ascii',
      write: false,
      define: { 'import.meta.filename': '__filename' },
    }),
    build({
      ...common,
      entryPoints: workers,
      outdir: part,
      entryNames: '[name]',
      outExtension: { '.js': '.cjs' },
      format: 'cjs',
      define: { 'import.meta.filename': '__filename' },
    }),
  ])
  const text = script.outputFiles[0]!.text
  const name = `main-${createHash('sha256').update(text).digest('hex').slice(0, 16)}`
  await writeFile(join(part, `${name}.cjs`), `(function (exports, require, module, __filename, __dirname) {${text}\n})`)
  const starter = await readFile(new URL('./bundle-start.mjs', import.meta.url), 'utf8')
  await writeFile(join(part, 'main.mjs'), starter.replace("'NAME'", JSON.stringify(name)))
}

if (import.meta.main) await bundleCli(fileURLToPath(new URL('../dist/cli', import.meta.url)))
