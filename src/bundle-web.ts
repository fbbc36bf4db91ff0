import { mkdirSync, readdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs'
import { basename, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { brotliCompressSync, constants, gzipSync } from 'node:zlib'
import { build, type Metafile, type Plugin } from 'esbuild'

/** What the build says of itself, in `built.json`. */
export interface PagesBuild {
  /** Bytes of the JavaScript that the first page loads, compressed with gzip. */
  initialScript: number
  files: number
}

const compressible = /\.(?:js|css|html|svg|json|txt)$/

/**
 * Builds the pages into `target`: hashed files in `assets/`, `index.html`, each beside its compressed forms. Made in a
 * directory of its own and moved there whole, so that whoever serves it never sees half a build.
 */
export async function bundlePages(target: string): Promise<PagesBuild> {
  const source = fileURLToPath(new URL('web/', import.meta.url))
  const made = `${target}.${process.pid}`
  rmSync(made, { recursive: true, force: true })
  mkdirSync(join(made, 'assets'), { recursive: true })
  try {
    const { metafile } = await build({
      entryPoints: { main: join(source, 'main.tsx'), theme: join(source, 'shell/theme-first.ts') },
      outdir: join(made, 'assets'),
      bundle: true,
      splitting: true,
      minify: true,
      format: 'esm',
      target: 'es2022',
      jsx: 'automatic',
      metafile: true,
      entryNames: '[name]-[hash]',
      chunkNames: '[name]-[hash]',
      assetNames: '[name]-[hash]',
      loader: { '.woff2': 'file', '.woff': 'file', '.svg': 'file' },
      define: { 'process.env.NODE_ENV': '"production"' },
      legalComments: 'none',
      plugins: [withoutNode, withoutInlineStyles],
      logLevel: 'error',
    })
    const outputs = outputsOf(metafile)
    writeFileSync(join(made, 'index.html'), page(readFileSync(join(source, 'index.html'), 'utf8'), outputs))
    const icon = readFileSync(join(source, 'icon.svg'))
    writeFileSync(join(made, 'icon.svg'), icon)
    const files = compress(made)
    const initialScript = outputs.initial.reduce(
      (sum, file) => sum + gzipSync(readFileSync(join(made, 'assets', file))).length,
      0,
    )
    const result = { initialScript, files }
    writeFileSync(join(made, 'built.json'), JSON.stringify(result))
    rmSync(target, { recursive: true, force: true })
    renameSync(made, target)
    return result
  } finally {
    rmSync(made, { recursive: true, force: true })
  }
}

/** Files of the protocol that pages use for their schemas also hold what only programs use; that part is left out of the bundle. */
const withoutNode: Plugin = {
  name: 'without-node',
  setup(builder) {
    builder.onResolve({ filter: /^node:/ }, ({ path }) => ({ path, namespace: 'node', sideEffects: false }))
    builder.onLoad({ filter: /.*/, namespace: 'node' }, () => ({ contents: 'module.exports = {}' }))
  },
}

/** How often the terminal makes an inline style. Another number: another version, which has to be looked at. */
const inlineStyles = [
  { from: 'createElement("style")', to: 'createElement("adopted-style")', times: 3 },
  // As the property it is the script's; as the attribute the policy counts it as inline.
  { from: '.setAttribute("style",', to: '.style.cssText=(', times: 1 },
] as const

/**
 * xterm.js writes style elements and style attributes, which the pages' policy forbids and which no option turns off. Its style elements become
 * elements of our own, which adopt a style sheet instead (web/terminal/adopted-style.ts).
 */
const withoutInlineStyles: Plugin = {
  name: 'without-inline-styles',
  setup(builder) {
    builder.onLoad({ filter: /@xterm\/xterm\/lib\/xterm\.mjs$/ }, ({ path }) => {
      let contents = readFileSync(path, 'utf8')
      for (const { from, to, times } of inlineStyles) {
        const parts = contents.split(from)
        if (parts.length !== times + 1)
          throw new Error(
            `xterm.js has ${from} ${parts.length - 1} times, not ${times}: see inlineStyles in bundle-web.ts`,
          )
        contents = parts.join(to)
      }
      return { contents, loader: 'js' }
    })
  },
}

interface Outputs {
  main: string
  theme: string
  style: string
  /** The scripts that the first page loads before it shows anything. */
  initial: string[]
  fonts: string[]
}

function outputsOf(metafile: Metafile): Outputs {
  const all = Object.entries(metafile.outputs)
  const entry = (end: string) => all.find(([, output]) => output.entryPoint?.endsWith(end))!
  const [main, { cssBundle }] = entry('web/main.tsx')
  const initial = new Set([main])
  for (const file of initial)
    for (const { path, kind } of metafile.outputs[file]!.imports) if (kind === 'import-statement') initial.add(path)
  const fonts = all
    .map(([file]) => basename(file))
    .filter((file) => /^(?:inter|jetbrains-mono)-latin-wght-normal-.*woff2$/.test(file))
  return {
    main: basename(main),
    theme: basename(entry('theme-first.ts')[0]),
    style: basename(cssBundle!),
    initial: [...initial].map((file) => basename(file)),
    fonts,
  }
}

function page(template: string, outputs: Outputs): string {
  const head = [
    `<script src="/assets/${outputs.theme}"></script>`,
    `<link rel="stylesheet" href="/assets/${outputs.style}">`,
    ...outputs.fonts.map(
      (file) => `<link rel="preload" href="/assets/${file}" as="font" type="font/woff2" crossorigin>`,
    ),
    ...outputs.initial.slice(1).map((file) => `<link rel="modulepreload" href="/assets/${file}">`),
    `<script type="module" src="/assets/${outputs.main}"></script>`,
  ]
  return template.replace('<!-- files -->', head.join('\n    '))
}

/** Writes `.br` and `.gz` beside each file that they make smaller. Answers how many files there are. */
function compress(directory: string): number {
  const files = readdirSync(directory, { recursive: true, withFileTypes: true }).filter((entry) => entry.isFile())
  for (const { parentPath, name } of files) {
    if (!compressible.test(name)) continue
    const path = join(parentPath, name)
    const data = readFileSync(path)
    writeFileSync(
      `${path}.br`,
      brotliCompressSync(data, {
        params: { [constants.BROTLI_PARAM_QUALITY]: 9, [constants.BROTLI_PARAM_SIZE_HINT]: data.length },
      }),
    )
    writeFileSync(`${path}.gz`, gzipSync(data, { level: 9 }))
  }
  return files.length
}

if (import.meta.main) {
  const target = process.argv[2] ?? fileURLToPath(new URL('../dist/web', import.meta.url))
  const { files, initialScript } = await bundlePages(target)
  console.log(
    `${target}: ${files} files; the first page loads ${(initialScript / 1024).toFixed(0)} KB of JavaScript, compressed`,
  )
}
